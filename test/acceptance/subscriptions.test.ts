import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { toNodeHandler } from '@modelcontextprotocol/node'
import {
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js'
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server'
import { describe, expect } from 'vitest'
import { ROOT } from '../kit/build.js'
import {
  type ClientV1,
  type ClientV2,
  type CommandLine,
  connectV1Http,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  gatewayOnStdio,
} from '../kit/clients.js'
import { type Fake, type FakeTransport, type Script, type ServerEntry, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { markedEnvironment } from '../kit/processes.js'
import { expectWithin } from '../kit/slowness.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { callTool, options } from './shared.js'

/** A client that writes down what it is told. */
interface Subscriber {
  readonly updates: string[]
  /** Milliseconds at which changed tools were announced. */
  readonly changes: number[]
  /** @returns the URIs that were honoured; rejects where the era has an error for it */
  subscribe(...uris: string[]): Promise<readonly string[]>
  unsubscribe(): Promise<void>
  call(name: string): Promise<unknown>
  close(): Promise<void>
}

function ofV1(client: ClientV1): Subscriber {
  const updates: string[] = []
  const changes: number[] = []
  const held = new Set<string>()
  client.setNotificationHandler(
    ResourceUpdatedNotificationSchema,
    ({ params }) => void updates.push(params.uri),
  )
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void changes.push(performance.now()))
  return {
    updates,
    changes,
    subscribe: async (...uris) => {
      for (const uri of uris) {
        await client.subscribeResource({ uri })
        held.add(uri)
      }
      return uris
    },
    unsubscribe: async () => {
      for (const uri of held) await client.unsubscribeResource({ uri })
    },
    call: name => client.callTool({ name, arguments: {} }),
    close: () => client.close(),
  }
}

/** Hears of changed tools from the start; each `subscribe` is a stream of its own. */
async function ofV2(client: ClientV2): Promise<Subscriber> {
  const updates: string[] = []
  const changes: number[] = []
  client.setNotificationHandler(
    'notifications/resources/updated',
    ({ params }) => void updates.push(params.uri),
  )
  client.setNotificationHandler(
    'notifications/tools/list_changed',
    () => void changes.push(performance.now()),
  )
  const streams: { close(): unknown }[] = []
  await client.listen({ toolsListChanged: true })
  return {
    updates,
    changes,
    subscribe: async (...uris) => {
      const stream = await client.listen({ resourceSubscriptions: uris })
      streams.push(stream)
      return stream.honoredFilter.resourceSubscriptions ?? []
    },
    unsubscribe: async () => {
      for (const stream of streams) await stream.close()
    },
    call: name => client.callTool({ name, arguments: {} }),
    close: () => client.close(),
  }
}

const CLIENTS = {
  'a session (SDK v1)': async (url: string) => ofV1(await connectV1Http(url)),
  'a stateless client (SDK v2)': async (url: string) => ofV2(await connectV2Http(url, 'modern')),
} as const

const SERVERS: readonly (readonly [FakeTransport, 'legacy' | 'modern'])[] = [
  ['stdio', 'legacy'],
  ['http', 'legacy'],
  ['stdio', 'modern'],
  ['http', 'modern'],
]

const NOTES: Script = {
  builtins: ['echo'],
  resources: [{ uri: 'note://1' }, { uri: 'note://2' }],
}
const NOTE = 'note://a~/1'

async function withSubscribers(
  [transport, eras]: (typeof SERVERS)[number],
  kind: keyof typeof CLIENTS,
  use: (room: { fake: Fake; gateway: TestGateway; one: Subscriber; other: Subscriber }) => Promise<void>,
  part: Script = {},
): Promise<void> {
  await withFakes([{ transport, script: { ...NOTES, eras, ...part } }], async fake => {
    await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
      await gateway.settled()
      const [one, other] = await Promise.all([CLIENTS[kind](gateway.url), CLIENTS[kind](gateway.url)])
      try {
        await use({ fake, gateway, one, other })
      } finally {
        await Promise.all([one.close(), other.close()])
      }
    })
  })
}

let news = 0

/** Everything that was said before has been told: a change of the tools comes after it, on the same way. */
async function caughtUp(fake: Fake, ...clients: Subscriber[]): Promise<void> {
  const before = clients.map(({ changes }) => changes.length)
  await fake.patch({ tools: [{ name: `news${++news}`, result: '{"content":[]}' }] })
  await fake.announce('tools')
  await until('the change of the tools is told', () =>
    clients.every(({ changes }, index) => changes.length > (before[index] ?? 0)),
  )
}

describe('a change of a resource', () => {
  for (const server of SERVERS) {
    for (const kind of Object.keys(CLIENTS) as (keyof typeof CLIENTS)[]) {
      verifies(
        ['D55', 'SUB1', 'SUB3'],
        `of a ${server.join(' ')} server is told to ${kind} that subscribed, until it unsubscribes`,
        async () => {
          await withSubscribers(server, kind, async ({ fake, one, other }) => {
            expect(await one.subscribe(NOTE)).toEqual([NOTE])
            await fake.updated('note://1')
            await fake.updated('note://2')
            await until('the update is told', () => one.updates.length > 0)
            await caughtUp(fake, one, other)
            expect([one.updates, other.updates]).toEqual([[NOTE], []])
            await other.subscribe(NOTE)
            if (server[1] === 'legacy') expect(fake.records.count('resources/subscribe')).toBe(1)
            await one.unsubscribe()
            await fake.updated('note://1')
            await until('the update is told', () => other.updates.length > 0)
            expect([one.updates, other.updates]).toEqual([[NOTE], [NOTE]])
            await other.unsubscribe()
            if (server[1] === 'legacy')
              await fake.records.waitFor(records => records.count('resources/unsubscribe') === 1)
            else await fake.records.waitFor(records => records.cancelled.length > 0)
          })
        },
      )
    }
  }

  verifies(['SUB1'], 'reaches clients on stdio in both eras, and those of the bridge', async () => {
    await withFakes([{ script: NOTES }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const bridge = await gatewayOnStdio({ url: gateway.url })
        const own = await gatewayOnStdio({ config: gateway.configFile })
        const connect: ((line: CommandLine) => Promise<Subscriber>)[] = [
          async line => ofV1(await connectV1Stdio(line)),
          async line => ofV2(await connectV2Stdio(line, 'modern')),
        ]
        const clients = await Promise.all(connect.flatMap(by => [by(own), by(bridge)]))
        try {
          for (const client of clients) {
            await until('its server is there', async () => {
              const answer = await client.call('a__echo').catch(() => ({ isError: true }))
              return (answer as { isError?: boolean }).isError !== true
            })
            expect(await client.subscribe(NOTE)).toEqual([NOTE])
          }
          await fake.updated('note://1')
          await until('the update is told', () => clients.every(({ updates }) => updates.length === 1))
          for (const { updates } of clients) expect(updates).toEqual([NOTE])
        } finally {
          await Promise.all(clients.map(client => client.close()))
        }
      })
    })
  })

  verifies(['SUB1'], 'is told no more once the session has ended or the stream is closed', async () => {
    await withFakes([{ script: NOTES }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const session = await connectV1Http(gateway.url)
        await session.subscribeResource({ uri: NOTE })
        const stateless = await connectV2Http(gateway.url, 'modern')
        const second = await stateless.listen({ resourceSubscriptions: ['note://a~/2'] })
        expect(fake.records.count('resources/subscribe')).toBe(2)
        await (session.transport as { terminateSession?(): Promise<void> }).terminateSession?.()
        await fake.records.waitFor(records => records.count('resources/unsubscribe') === 1)
        await second.close()
        await fake.records.waitFor(records => records.count('resources/unsubscribe') === 2)
        await Promise.all([session.close(), stateless.close()])
      })
    })
  })
})

describe('an outage', () => {
  for (const server of SERVERS) {
    for (const kind of Object.keys(CLIENTS) as (keyof typeof CLIENTS)[]) {
      verifies(
        ['SUB5'],
        `of a ${server.join(' ')} server costs ${kind} no subscription, and is told by exactly one update`,
        async () => {
          await withSubscribers(server, kind, async ({ fake, gateway, one, other }) => {
            await one.subscribe(NOTE, 'note://a~/2')
            await fake.crash()
            if (server[0] === 'http') await fake.restart()
            await until('both updates are told', () => one.updates.length === 2, 20_000)
            expect([...one.updates].sort()).toEqual([NOTE, 'note://a~/2'])
            await gateway.waitForState('a', 'ready')
            await fake.updated('note://1')
            await until('the update is told', () => one.updates.length === 3)
            await caughtUp(fake, one, other)
            expect([one.updates.slice(2), other.updates]).toEqual([[NOTE], []])
          })
        },
      )
    }
  }

  for (const eras of ['legacy', 'modern'] as const) {
    verifies(['SUB5'], `from boot on is no reason to refuse a subscription to a ${eras} server`, async () => {
      await withFakes([{ script: { ...NOTES, eras }, down: true }], async fake => {
        await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
          await gateway.settled()
          const clients = await Promise.all(Object.values(CLIENTS).map(connect => connect(gateway.url)))
          for (const client of clients) expect(await client.subscribe(NOTE)).toEqual([NOTE])
          await fake.restart()
          for (const client of clients)
            await until('it is told of the return', () => client.updates.length === 1)
          await fake.updated('note://1')
          for (const client of clients) await until('the update is told', () => client.updates.length === 2)
          await Promise.all(clients.map(client => client.close()))
        })
      })
    })
  }
})

describe('a subscription that cannot be', () => {
  verifies(
    ['SUB4'],
    'is an error with its reason for a session, and left out for a stateless client',
    async () => {
      const without = { tools: { listChanged: true }, resources: {} }
      for (const eras of ['legacy', 'modern'] as const) {
        const script = { ...NOTES, eras, capabilities: without }
        await withFakes([{ script }, { script: { ...NOTES, eras } }], async (a, b) => {
          await withGateway({ mcpServers: { a: a.entry, b: b.entry } }, async gateway => {
            await gateway.settled()
            const session = await CLIENTS['a session (SDK v1)'](gateway.url)
            await expect(session.subscribe(NOTE)).rejects.toMatchObject({
              code: -32601,
              message: expect.stringContaining('resources.subscribe'),
            })
            await expect(session.subscribe('nobody')).rejects.toMatchObject({ code: -32002 })
            const stateless = await CLIENTS['a stateless client (SDK v2)'](gateway.url)
            const uris = [NOTE, 'note://b~/1', 'nobody']
            expect(await stateless.subscribe(...uris)).toEqual(['note://b~/1'])
            await Promise.all([session.close(), stateless.close()])
          })
        })
      }
    },
  )

  verifies(['SUB4'], 'is refused in the words of the server that refuses it', async () => {
    const faults = [
      { on: 'resources/subscribe', do: { kind: 'error', code: -32602, message: 'not that' } },
    ] as const
    await withFakes([{ script: { ...NOTES, faults } }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const session = await CLIENTS['a session (SDK v1)'](gateway.url)
        await expect(session.subscribe(NOTE)).rejects.toMatchObject({
          code: -32602,
          message: expect.stringContaining('not that'),
        })
        await session.close()
      })
    })
  })
})

verifies(
  ['SUB6'],
  'a lazy server is started by a subscription and not stopped for being idle while there is one',
  async () => {
    await withFakes([{ transport: 'stdio', script: NOTES }], async fake => {
      const a = options(fake.entry, { lazy: true, idleStop: '300ms' })
      await withGateway({ mcpServers: { a } }, async gateway => {
        const client = await CLIENTS['a session (SDK v1)'](gateway.url)
        await callTool(await connectV1Http(gateway.url), 'a__echo')
        await gateway.waitForState('a', 'idle')
        await client.subscribe(NOTE)
        await fake.records.waitFor(records => records.count('resources/subscribe') === 1)
        const started = (await gateway.waitForState('a', 'ready')).since
        await until('it would have been idle for long', async () => {
          const { state, since } = await gateway.upstream('a')
          expect([state, since]).toEqual(['ready', started])
          return Date.now() - Date.parse(since) > 1_500
        })
        await client.unsubscribe()
        await gateway.waitForState('a', 'idle')
        await client.close()
      })
    })
  },
)

verifies(
  ['SUB7'],
  'a thousand announcements a second reach each client at most once in 5 s, and delay no call',
  async () => {
    await withFakes([{ script: { ...NOTES, eras: 'both' } }, { script: NOTES }], async (noisy, calm) => {
      await withGateway({ mcpServers: { a: noisy.entry, b: calm.entry } }, async gateway => {
        await gateway.settled()
        const clients = await Promise.all(Object.values(CLIENTS).map(connect => connect(gateway.url)))
        const started = performance.now()
        let said = 0
        const storm = setInterval(() => {
          const due = performance.now() - started
          if (said % 200 === 0) void noisy.patch({ tools: [{ name: `t${said}`, result: '{"content":[]}' }] })
          for (; said < due; said += 1) void noisy.announce('tools')
        }, 5)
        let slowest = 0
        try {
          while (performance.now() - started < 11_500) {
            for (const name of ['a__echo', 'b__echo']) {
              const before = performance.now()
              await clients[0]?.call(name)
              slowest = Math.max(slowest, performance.now() - before)
            }
            await delay(20)
          }
        } finally {
          clearInterval(storm)
        }
        expect(said).toBeGreaterThan(9_000)
        for (const { changes } of clients) {
          expect(changes.length).toBeGreaterThanOrEqual(2)
          for (const [index, at] of changes.entries())
            if (index > 0) expect(at - (changes[index - 1] ?? 0)).toBeGreaterThan(4_800)
        }
        await expectWithin(slowest, 1_000)
        await Promise.all(clients.map(client => client.close()))
      })
    })
  },
)

for (const how of ['stdio', 'streamableHttp'] as const) {
  verifies(
    ['D55'],
    `an update of the official everything server (${how}) reaches the one that subscribed`,
    async () => {
      await withEverything(how, async entry => {
        await withGateway({ mcpServers: { a: entry } }, async gateway => {
          await gateway.waitForState('a', 'ready', 20_000)
          const all = Object.values(CLIENTS)
          const [one, two, other] = await Promise.all(
            [...all, CLIENTS['a session (SDK v1)']].map(by => by(gateway.url)),
          )
          const uri = 'demo://a~/resource/dynamic/text/1'
          for (const client of [one, two]) expect(await client?.subscribe(uri)).toEqual([uri])
          await one?.call('a__toggle-subscriber-updates')
          for (const client of [one, two]) await until('the update is told', () => client?.updates[0] === uri)
          expect(other?.updates).toEqual([])
          for (const client of [one, two, other]) await client?.close()
        })
      })
    },
  )
}

verifies(
  ['D55', 'SUB5'],
  'an update of a server made with the official SDK v2 reaches the one that subscribed, through a lost stream too',
  async () => {
    const handler = createMcpHandler(() => {
      const capabilities = { resources: { subscribe: true, listChanged: true } }
      const made = new McpServer({ name: 'sdk', version: '1' }, { capabilities })
      for (const uri of ['note://1', 'note://2'])
        made.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text: 'x' }] }))
      return made
    })
    const server = createServer(toNodeHandler(handler))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
      await withGateway({ mcpServers: { a: { url } } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        const clients = await Promise.all(Object.values(CLIENTS).map(by => by(gateway.url)))
        for (const client of clients) {
          expect(await client.subscribe(NOTE)).toEqual([NOTE])
          expect(await client.subscribe('note://a~/2')).toEqual(['note://a~/2'])
        }
        handler.notify.resourceUpdated('note://1')
        for (const client of clients) await until('it is told', () => client.updates[0] === NOTE)
        server.closeAllConnections()
        for (const client of clients) await until('it is told of the gap', () => client.updates.length === 3)
        handler.notify.resourceUpdated('note://2')
        for (const client of clients) {
          await until('it is told', () => client.updates.length === 4)
          expect(client.updates[3]).toBe('note://a~/2')
          await client.close()
        }
      })
    } finally {
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
    }
  },
)

async function withEverything(
  how: 'stdio' | 'streamableHttp',
  use: (entry: ServerEntry) => Promise<void>,
): Promise<void> {
  const program = join(ROOT, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js')
  if (how === 'stdio')
    return use({ command: process.execPath, args: [program, how], env: markedEnvironment() })
  const port = await closedPort()
  const env = { ...process.env, ...markedEnvironment(), PORT: String(port) }
  const child = spawn(process.execPath, [program, how], { env, stdio: 'ignore' })
  try {
    await use({ url: `http://127.0.0.1:${port}/mcp` })
  } finally {
    child.kill()
  }
}
