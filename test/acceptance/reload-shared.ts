import { writeFileSync } from 'node:fs'
import { expect } from 'vitest'
import type { ReloadResult } from '../../src/index.js'
import type { FakeTransport } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'

export const WAYS: readonly (readonly [FakeTransport, 'legacy' | 'modern'])[] = [
  ['stdio', 'legacy'],
  ['stdio', 'modern'],
  ['http', 'legacy'],
  ['http', 'modern'],
  ['sse', 'legacy'],
]

export const ECHO = { builtins: ['echo'] }

export const configOf = (mcpServers: object) => JSON.stringify({ mcpServers })

/** Writes the config, and waits until it was noticed and is the one that runs. */
export async function take(gateway: TestGateway, mcpServers: object): Promise<void> {
  const { generation = 0 } = (await gateway.status()).gateway.config
  writeFileSync(gateway.configFile, configOf(mcpServers))
  await gateway.waitFor(({ gateway: { config } }) => config.generation === generation + 1)
}

/** Writes the config and has it read. Resolves when the reload has returned. */
export async function takeNow(gateway: TestGateway, mcpServers: object): Promise<ReloadResult> {
  writeFileSync(gateway.configFile, configOf(mcpServers))
  const result = await gateway.reload()
  expect(result).toMatchObject({ ok: true, errors: [] })
  return result
}

export async function generationOf(gateway: TestGateway): Promise<number> {
  return (await gateway.status()).gateway.config.generation ?? 0
}
