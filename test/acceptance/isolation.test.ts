import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/index.js'
import {
  type ClientV1,
  type ClientV2,
  connectV1Http,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  gatewayOnStdio,
} from '../kit/clients.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { withGateway, writeConfig } from '../kit/gateway.js'
import { waitForExit } from '../kit/processes.js'
import { rawPost, rawRequest } from '../kit/raw-http.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { callTool, options } from './shared.js'

const TOKEN = { ann: 'secret-of-ann', bob: 'secret-of-bob' } as const
type User = keyof typeof TOKEN

/** One address behind which each token meets a server of its own; no token meets none. */
async function behindTokens<T>(
  users: Readonly<Record<User, Fake>>,
  use: (url: string) => Promise<T>,
): Promise<T> {
  const server = createServer((req, res) => {
    const user = (['ann', 'bob'] as const).find(name => req.headers.authorization === `Bearer ${TOKEN[name]}`)
    if (!user) return void res.writeHead(401, { 'www-authenticate': 'Bearer' }).end()
    const { method = 'GET', headers } = req
    const onward = request(users[user].url ?? '', { method, headers }, answer => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    onward.on('error', () => res.destroy())
    res.on('close', () => onward.destroy())
    req.pipe(onward)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  try {
    return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`)
  } finally {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  }
}

async function withLibrary<T>(options: GatewayOptions, use: (gateway: Gateway, url: string) => Promise<T>) {
  const gateway = await createGateway(options)
  try {
    return await use(gateway, (await gateway.listen({ port: 0 })).url)
  } finally {
    await gateway.close()
  }
}

/** The user stands in the address: every official client can say that. */
const identify: GatewayOptions['identify'] = req =>
  new URL(req.url ?? '', 'http://x').searchParams.get('user') ?? ''
const credentials: GatewayOptions['credentials'] = ({ principal }) => ({
  Authorization: `Bearer ${TOKEN[principal as User] ?? 'none'}`,
})
const namesOf = async (client: Pick<ClientV1 | ClientV2, 'listTools'>) =>
  (await client.listTools()).tools.map(({ name }) => name)
const own = (user: User, eras: 'legacy' | 'modern') => ({
  script: {
    eras,
    builtins: ['whoami'],
    tools: [{ name: `tool_of_${user}`, result: `{"content":[{"type":"text","text":"for ${user}"}]}` }],
  },
})
const textOf = (result: unknown) => (result as { content: { text: string }[] }).content[0]?.text ?? ''

describe('a server that refuses the credentials of one identity', () => {
  for (const eras of ['legacy', 'modern'] as const) {
    verifies(
      ['J123'],
      `and speaks ${eras} serves the others as before, and that one again once they are mended`,
      () =>
        withFakes([own('ann', eras), own('bob', eras)], (ann, bob) =>
          behindTokens({ ann, bob }, url =>
            withLibrary(
              {
                mcpServers: { iso: { type: 'http', url, holdfast: { isolation: 'principal' } } },
                identify,
                credentials,
              },
              async gateway => {
                const call = (user: User) => gateway.callTool(`iso__tool_of_${user}`, {}, { principal: user })
                expect([textOf(await call('ann')), textOf(await call('bob'))]).toEqual(['for ann', 'for bob'])
                await ann.patch({ faults: [{ on: 'POST', do: { kind: 'http', status: 401 } }] })
                await expect(call('ann')).rejects.toMatchObject({ kind: 'auth_required' })
                const asked = ann.records.ofKind('request').length
                await expect(call('ann')).rejects.toMatchObject({ kind: 'auth_required' })
                expect(ann.records.ofKind('request')).toHaveLength(asked)
                expect(textOf(await call('bob'))).toBe('for bob')
                const { state, instances } = gateway.upstream('iso').status()
                expect(state).not.toBe('auth_required')
                expect(instances).toMatchObject({ total: 2, unhealthy: 1 })
                await ann.patch({ faults: [] })
                await gateway.forget('ann')
                expect(textOf(await call('ann'))).toBe('for ann')
              },
            ),
          ),
        ),
    )
  }
})

describe('a server that offers each identity something else', () => {
  for (const eras of ['legacy', 'modern'] as const) {
    verifies(
      ['E60', 'E61', 'F174'],
      `and speaks ${eras} shows each client its own, and keeps each one’s credentials`,
      async () => {
        const lines: unknown[] = []
        await withFakes([own('ann', eras), own('bob', eras)], (ann, bob) =>
          behindTokens({ ann, bob }, url =>
            withLibrary(
              {
                mcpServers: { iso: { type: 'http', url, holdfast: { isolation: 'principal' } } },
                identify,
                credentials,
                log: record => void lines.push(record),
              },
              async (gateway, base) => {
                const clients = {
                  ann: [
                    await connectV1Http(`${base}?user=ann`),
                    await connectV2Http(`${base}?user=ann`, 'modern'),
                  ],
                  bob: [
                    await connectV2Http(`${base}?user=bob`, 'modern'),
                    await connectV1Http(`${base}?user=bob`),
                  ],
                }
                for (const user of ['ann', 'bob'] as const) {
                  const other = user === 'ann' ? 'bob' : 'ann'
                  for (const client of clients[user]) {
                    expect(await namesOf(client)).toEqual([`iso__tool_of_${user}`, 'iso__whoami'])
                    const result = await client.callTool({ name: `iso__tool_of_${user}`, arguments: {} })
                    expect(textOf(result)).toBe(`for ${user}`)
                    await expect(
                      client.callTool({ name: `iso__tool_of_${other}`, arguments: {} }),
                    ).rejects.toThrow(/Unknown tool/)
                  }
                }
                const { tools } = await gateway.listTools({ principal: 'bob' })
                expect(tools.map(({ name }) => name)).toEqual(['iso__tool_of_bob', 'iso__whoami'])
                const told = await gateway.callTool('iso__whoami', {}, { principal: 'ann' })
                expect(textOf(told)).toContain(TOKEN.ann)
                expect(gateway.upstream('iso').status()).toMatchObject({
                  isolation: 'principal',
                  instances: { total: 2, unhealthy: 0, reason: null },
                })
                const seen = JSON.stringify([gateway.status(), lines, await gateway.catalog()])
                expect(seen).not.toContain('secret-of')
                for (const client of Object.values(clients).flat()) await client.close()
                expect([ann.records.sessions.length, bob.records.sessions.length]).toEqual(
                  eras === 'legacy' ? [1, 1] : [0, 0],
                )
              },
            ),
          ),
        )
      },
    )
  }

  verifies(['F174'], 'meets no client without a name, and no session under another name', async () => {
    const HELLO = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
    })
    await withLibrary({ mcpServers: {}, identify }, async (_, url) => {
      expect((await rawPost(url, HELLO)).status).toBe(401)
      const { headers } = await rawPost(`${url}?user=ann`, HELLO)
      const session = { 'mcp-session-id': String(headers['mcp-session-id']) }
      const ping = '{"jsonrpc":"2.0","id":2,"method":"ping"}'
      expect((await rawPost(`${url}?user=bob`, ping, session)).status).toBe(404)
      for (const method of ['GET', 'DELETE']) {
        const asked = { method, headers: { accept: 'text/event-stream', ...session } }
        expect((await rawRequest(`${url}?user=bob`, asked)).status).toBe(404)
      }
      expect((await rawPost(`${url}?user=ann`, ping, session)).status).toBe(200)
    })
  })

  verifies(['E63'], 'is met anew when the credentials of an identity changed', async () => {
    let token: string = TOKEN.ann
    await withFakes([own('ann', 'legacy'), own('bob', 'legacy')], (ann, bob) =>
      behindTokens({ ann, bob }, url =>
        withLibrary(
          {
            mcpServers: { iso: { type: 'http', url, holdfast: { isolation: 'principal' } } },
            identify,
            credentials: async () => ({ authorization: `Bearer ${token}` }),
          },
          async (gateway, base) => {
            const client = await connectV1Http(`${base}?user=someone`)
            expect(await namesOf(client)).toContain('iso__tool_of_ann')
            token = TOKEN.bob
            await gateway.forget('someone')
            expect(ann.records.ofKind('session-end')).toMatchObject([{ how: 'delete' }])
            expect(await namesOf(client)).toEqual(['iso__tool_of_bob', 'iso__whoami'])
            await client.close()
          },
        ),
      ),
    )
  })
})

interface Stateful {
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<unknown>
}
const pidSeenBy = async (client: Stateful) =>
  (JSON.parse(textOf(await client.callTool({ name: 's__whoami', arguments: {} }))) as { pid: number }).pid
const sessionSeenBy = async (client: Stateful) =>
  (JSON.parse(textOf(await client.callTool({ name: 's__whoami', arguments: {} }))) as { session: string })
    .session
const countSeenBy = async (client: Stateful) =>
  textOf(await client.callTool({ name: 's__count', arguments: {} }))

/** What the official client calls when a person is done: DELETE. */
async function leave(client: ClientV1): Promise<void> {
  const transport = client.transport as unknown as { terminateSession(): Promise<void> }
  await transport.terminateSession()
  await client.close()
}

const STATEFUL = { builtins: ['count', 'whoami'] }

describe('an instance for each session', () => {
  verifies(['E64', 'F171'], 'of a program keeps the state of one client from all others', async () => {
    await withFakes([{ transport: 'stdio', script: STATEFUL }], async fake => {
      const mcpServers = { s: options(fake.entry, { isolation: 'session' }) }
      await withGateway({ mcpServers }, async gateway => {
        expect(await gateway.upstream('s')).toMatchObject({ isolation: 'session', instances: { total: 0 } })
        const [one, two] = [await connectV1Http(gateway.url), await connectV1Http(gateway.url)]
        const three = await connectV2Http(gateway.url, 'legacy')
        const stateless = await connectV2Http(gateway.url, 'modern')
        for (const client of [one, two, three, stateless])
          expect(await namesOf(client)).toEqual(['s__count', 's__whoami'])
        expect([await countSeenBy(one), await countSeenBy(one), await countSeenBy(one)]).toEqual([
          '1',
          '2',
          '3',
        ])
        for (const client of [two, three, stateless]) expect(await countSeenBy(client)).toBe('1')
        expect(await countSeenBy(one)).toBe('4')
        const pids = await Promise.all([one, two, three, stateless].map(pidSeenBy))
        expect(new Set(pids).size).toBe(4)
        expect(await gateway.upstream('s')).toMatchObject({
          state: 'ready',
          instances: { total: 3, unhealthy: 0, reason: null },
        })
        await leave(one)
        await waitForExit(pids[0] ?? 0)
        expect(await countSeenBy(two)).toBe('2')
        expect((await gateway.upstream('s')).instances?.total).toBe(2)
        await Promise.all([two.close(), three.close(), stateless.close()])
      })
    })
  })

  verifies(['E64', 'F171'], 'of a remote is a session of its own there, which is ended there', async () => {
    await withFakes([{ script: STATEFUL }], async fake => {
      await withGateway(
        { mcpServers: { s: options(fake.entry, { isolation: 'session' }) } },
        async gateway => {
          const [one, two] = [await connectV1Http(gateway.url), await connectV1Http(gateway.url)]
          const [first, second] = [await sessionSeenBy(one), await sessionSeenBy(two)]
          expect(first).not.toBe(second)
          expect(await sessionSeenBy(one)).toBe(first)
          await leave(one)
          await fake.records.waitFor(records =>
            records.ofKind('session-end').some(({ session, how }) => session === first && how === 'delete'),
          )
          expect(await sessionSeenBy(two)).toBe(second)
          expect(fake.records.ofKind('session-end')).toHaveLength(1)
          await two.close()
        },
      )
    })
  })

  verifies(['F171'], 'is one for the whole of a client on stdio, of either era', async () => {
    await withFakes([{ transport: 'stdio', script: STATEFUL }], async fake => {
      const config = writeConfig({ mcpServers: { s: options(fake.entry, { isolation: 'session' }) } })
      const line = await gatewayOnStdio({ config })
      for (const client of [await connectV1Stdio(line), await connectV2Stdio(line, 'modern')]) {
        expect(await namesOf(client)).toEqual(['s__count', 's__whoami'])
        expect([await countSeenBy(client), await countSeenBy(client)]).toEqual(['1', '2'])
        const pid = await pidSeenBy(client)
        await client.close()
        await waitForExit(pid)
      }
      expect(fake.records.spawns).toBe(2)
    })
  })

  verifies(['F171'], 'is nobody’s where all share: the same process, the same state', async () => {
    await withFakes([{ transport: 'stdio', script: STATEFUL }], async fake => {
      await withGateway({ mcpServers: { s: fake.entry } }, async gateway => {
        const [one, two] = [await connectV1Http(gateway.url), await connectV1Http(gateway.url)]
        expect([await countSeenBy(one), await countSeenBy(two)]).toEqual(['1', '2'])
        expect(await gateway.upstream('s')).toMatchObject({ isolation: 'shared', instances: null })
        await Promise.all([one.close(), two.close()])
      })
    })
  })

  verifies(['F173'], 'that is still connecting ends with its session', async () => {
    const hang = (on: string) => ({ on, do: { kind: 'hang' } as const })
    const script = { ...STATEFUL, faults: [hang('initialize'), hang('server/discover')] }
    await withFakes([{ transport: 'stdio', script }], async fake => {
      await withGateway(
        { mcpServers: { s: options(fake.entry, { isolation: 'session' }) } },
        async gateway => {
          const client = await connectV1Http(gateway.url)
          const stop = new AbortController()
          const call = client
            .callTool({ name: 's__count', arguments: {} }, undefined, { signal: stop.signal })
            .catch(() => 'given up')
          const pid = await fake.records.waitFor(({ pids }) => pids[0] ?? 0)
          stop.abort()
          expect(await call).toBe('given up')
          await leave(client)
          await waitForExit(pid)
          await until('no instance is left', async () => (await gateway.upstream('s')).instances?.total === 0)
          await fake.set(STATEFUL)
          const next = await connectV1Http(gateway.url)
          expect(await countSeenBy(next)).toBe('1')
          expect(fake.records.spawns).toBe(2)
          await next.close()
        },
      )
    })
  })
})

describe('an instance for each identity', () => {
  verifies(['F172'], 'is started once, however many of its callers come first', async () => {
    await withFakes([{ transport: 'stdio', script: STATEFUL }], async fake => {
      const gateway = await createGateway({
        mcpServers: { s: options(fake.entry, { isolation: 'principal' }) },
        identify,
      })
      try {
        const calls = ['ann', 'bob'].flatMap(principal =>
          Array.from({ length: 20 }, () => gateway.callTool('s__whoami', {}, { principal })),
        )
        const results = await Promise.all(calls)
        const pids = results.map(result => (JSON.parse(textOf(result)) as { pid: number }).pid)
        expect([new Set(pids.slice(0, 20)).size, new Set(pids.slice(20)).size]).toEqual([1, 1])
        expect(fake.records.spawns).toBe(2)
        expect((await gateway.listTools()).tools).toHaveLength(2)
        expect(fake.records.spawns).toBe(3)
      } finally {
        await gateway.close()
      }
      for (const pid of fake.records.pids) await waitForExit(pid)
    })
  })

  verifies(['E64'], 'and each session ends with the gateway, at once when it must', async () => {
    await withFakes([{ transport: 'stdio', script: { ...STATEFUL, ignoreSigterm: true } }], async fake => {
      await withGateway(
        { mcpServers: { s: options(fake.entry, { isolation: 'session' }) } },
        async gateway => {
          const client = await connectV1Http(gateway.url)
          expect((await callTool(client, 's__count')).content[0]?.text).toBe('1')
          const [pid = 0] = fake.records.pids
          await gateway.stop('SIGKILL')
          await waitForExit(pid)
          await client.close()
        },
      )
    })
  })
})
