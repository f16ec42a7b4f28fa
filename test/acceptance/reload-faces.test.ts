import { writeFileSync } from 'node:fs'
import { ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { describe, expect } from 'vitest'
import {
  type ClientV1,
  type ClientV2,
  connectV1Http,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  gatewayOnStdio,
} from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { runCommand, withGateway, writeConfig } from '../kit/gateway.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { configOf, ECHO, generationOf, takeNow } from './reload-shared.js'
import { options } from './shared.js'

const STDIO = { transport: 'stdio', script: ECHO } as const

/** A client that counts how often it heard that tools changed. */
interface Listener {
  heard(): number
  tools(): Promise<readonly string[]>
  echo(name: string): Promise<unknown>
  close(): Promise<void>
}

function ofV1(client: ClientV1): Listener {
  let heard = 0
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
    heard += 1
  })
  return listenerOf(client, () => heard)
}

/** Of the modern era: who wants to hear of changes says so. */
async function ofV2(client: ClientV2): Promise<Listener> {
  let heard = 0
  client.setNotificationHandler('notifications/tools/list_changed', () => {
    heard += 1
  })
  await client.listen({ toolsListChanged: true })
  return listenerOf(client, () => heard)
}

function listenerOf(client: ClientV1 | ClientV2, heard: () => number): Listener {
  return {
    heard,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    echo: async name => (await client.callTool({ name, arguments: { n: 1 } })).structuredContent,
    close: () => client.close(),
  }
}

const ON_STDIO = {
  legacy: async (config: string) => ofV1(await connectV1Stdio(await gatewayOnStdio({ config }))),
  modern: async (config: string) => ofV2(await connectV2Stdio(await gatewayOnStdio({ config }), 'modern')),
}
const OVER_HTTP = {
  legacy: async (url: string) => ofV1(await connectV1Http(url)),
  modern: async (url: string) => ofV2(await connectV2Http(url, 'modern')),
}

/** The tools that it lists become those, and it was told to look. */
async function becomes(client: Listener, names: readonly string[], before: number): Promise<void> {
  await until('it is told', () => client.heard() > before)
  await until('it lists them', async () => (await client.tools()).join() === names.join())
}

async function follows(client: Listener, path: string, a: object, b: object): Promise<void> {
  await until('a is listed', async () => (await client.tools()).join() === 'a__echo')
  let before = client.heard()
  writeFileSync(path, configOf({ a, b }))
  await becomes(client, ['a__echo', 'b__echo'], before)
  expect(await client.echo('b__echo')).toEqual({ n: 1 })
  before = client.heard()
  writeFileSync(path, configOf({ b: options(b, { prefix: 'z' }) }))
  await becomes(client, ['z__echo'], before)
  expect(await client.echo('z__echo')).toEqual({ n: 1 })
}

// They wait most of their time: changes are told with pauses in between.
describe.concurrent('a client of a gateway whose config file changes', () => {
  for (const era of ['legacy', 'modern'] as const) {
    verifies(['M151'], `is told of changed tools on stdio (${era})`, async () => {
      await withFakes([STDIO, STDIO], async (a, b) => {
        const path = writeConfig(configOf({ a: a.entry }))
        const client = await ON_STDIO[era](path)
        try {
          await follows(client, path, a.entry, b.entry)
        } finally {
          await client.close()
        }
      })
    })

    verifies(['M151'], `is told of changed tools over HTTP (${era})`, async () => {
      await withFakes([STDIO, STDIO], async (a, b) => {
        await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
          await gateway.settled()
          const client = await OVER_HTTP[era](gateway.url)
          try {
            await follows(client, gateway.configFile, a.entry, b.entry)
          } finally {
            await client.close()
          }
        })
      })
    })
  }
})

describe('reloads that are asked for while the file changes', () => {
  verifies(['M159'], 'take each state over once, whoever saw it first', async () => {
    await withFakes([STDIO, STDIO], async (a, b) => {
      await withGateway({ mcpServers: { a: a.entry, b: b.entry } }, async gateway => {
        await gateway.settled()
        const { pid } = await gateway.upstream('a')
        const command = () => runCommand(['reload', '--url', gateway.origin, '--json'])
        for (let round = 1; round <= 8; round += 1) {
          // Every second one is a new version, which takes its time to come up.
          const changed =
            round % 2 ? { env: { ROUND: String(round) } } : { holdfast: { prefix: `p${round}` } }
          const text = configOf({ a: a.entry, b: { ...b.entry, ...changed } })
          const early = gateway.reload()
          writeFileSync(gateway.configFile, text)
          const [told, ...results] = await Promise.all([command(), gateway.reload(), gateway.reload()])
          for (const result of [JSON.parse(told.stdout), ...results]) {
            expect(result).toMatchObject({ ok: true, generation: round + 1, errors: [] })
          }
          await early
          expect(await generationOf(gateway)).toBe(round + 1)
        }
        expect(gateway.stderr.match(/Configuration \d+: /g)).toHaveLength(8)
        expect(await gateway.upstream('a')).toMatchObject({ pid })
      })
    })
  })
})

verifies(
  ['CFG-VIEW'],
  'what is configured can be read from the gateway, before and after a reload',
  async () => {
    await withFakes([STDIO], async a => {
      const broken = { command: '${HOLDFAST_NOT_SET}' }
      const secret = { env: { TOKEN: 'canary-77' } }
      await withGateway({ mcpServers: { a: { ...a.entry, ...secret }, broken } }, async gateway => {
        const read = async () => (await gateway.get('/api/v1/config')) as ConfigAnswer
        const before = await read()
        const { config } = (await gateway.status()).gateway
        expect(before).toMatchObject({ path: gateway.configFile, generation: 1, hash: config.hash })
        expect(before.servers).toMatchObject([
          { name: 'a', entry: { env: { TOKEN: '***' }, holdfast: { prefix: 'a', requestTimeout: 60_000 } } },
          { name: 'broken', entry: null, problem: expect.stringContaining('HOLDFAST_NOT_SET') },
        ])
        expect(JSON.stringify(before)).not.toContain('canary')
        const slower = { ...a.entry, ...secret, holdfast: { requestTimeout: '90s' } }
        await takeNow(gateway, { a: slower })
        const after = await read()
        expect(after.generation).toBe(2)
        expect(after.hash).not.toBe(before.hash)
        expect(after.servers).toMatchObject([{ name: 'a', entry: { holdfast: { requestTimeout: 90_000 } } }])
      })
    })
  },
)

interface ConfigAnswer {
  readonly path: string
  readonly hash: string
  readonly generation: number
  readonly servers: readonly {
    readonly name: string
    readonly entry: Readonly<Record<string, unknown>> | null
    readonly problem: string | null
  }[]
}
