import { type ClientV1, connectV1Http } from '../kit/clients.js'
import type { ServerEntry } from '../kit/fake-mcp.js'
import { type TestConfig, type TestGateway, withGateway } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { markedEnvironment } from '../kit/processes.js'

export interface Missing {
  readonly upstream: string
  readonly state: string
  readonly reason: string
  readonly since: string
  readonly stale: boolean
  readonly kind?: string
  readonly nextAttemptAt?: string
}

/** A program that exits at once and says why. */
export const CRASHING = {
  command: process.execPath,
  args: ['-e', 'console.error("no database"); process.exit(1)'],
  env: markedEnvironment(),
}

/** The address of nobody. */
export async function refusing(): Promise<ServerEntry> {
  return { type: 'http', url: `http://127.0.0.1:${await closedPort()}/mcp` }
}

export const options = (entry: ServerEntry, holdfast: Record<string, unknown>): ServerEntry => ({
  ...entry,
  holdfast,
})

export function missingIn(result: { _meta?: Record<string, unknown> | undefined }): readonly Missing[] {
  return (result._meta?.['dev.holdfast/unavailable'] ?? []) as readonly Missing[]
}

/** A gateway whose servers have all come up or failed, and a client of it. */
export function withClient<T>(
  mcpServers: TestConfig['mcpServers'],
  use: (client: ClientV1, gateway: TestGateway) => Promise<T>,
): Promise<T> {
  return withGateway({ mcpServers }, async gateway => {
    await gateway.settled()
    const client = await connectV1Http(gateway.url)
    try {
      return await use(client, gateway)
    } finally {
      await client.close()
    }
  })
}

export interface ToolResult {
  readonly isError?: boolean
  readonly content: readonly { readonly type: string; readonly text: string; readonly uri?: string }[]
  readonly structuredContent?: unknown
  readonly _meta?: Record<string, unknown>
}

export async function callTool(
  client: ClientV1,
  name: string,
  args: Record<string, unknown> = {},
): Promise<ToolResult> {
  return (await client.callTool({ name, arguments: args })) as unknown as ToolResult
}

export function failureOf(result: ToolResult): Record<string, unknown> {
  return (result._meta?.['dev.holdfast/failure'] ?? {}) as Record<string, unknown>
}
