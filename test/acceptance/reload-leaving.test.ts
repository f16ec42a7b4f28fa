import { writeFileSync } from 'node:fs'
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { describe, expect } from 'vitest'
import { type ClientV1, connectV1Http } from '../kit/clients.js'
import { type Fake, type FakeTransport, type Script, type ServerEntry, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { assertNoneLeft, connectionsTo, findProcesses, isAlive } from '../kit/processes.js'
import { openToxic, type Toxic } from '../kit/toxic.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { configOf, ECHO, takeNow } from './reload-shared.js'
import { callTool, failureOf, options } from './shared.js'
import { freshMark, marked, STUBBORN } from './stopping-shared.js'

const REMOTES: readonly (readonly [FakeTransport, 'legacy' | 'modern'])[] = [
  ['http', 'legacy'],
  ['http', 'modern'],
  ['sse', 'legacy'],
]
/** A farewell to somebody who does not answer, or the ladder of a program that does not leave, and some room. */
const GONE_MS = 8_000
const HOLDING: Script = {
  ...ECHO,
  tools: [{ name: 'hold', steps: [{ wait: 'held' }], behaves: 'echo' }],
  resources: [{ uri: 'note://1' }],
}

interface World {
  readonly gateway: TestGateway
  readonly client: ClientV1
  readonly fake: Fake
  /** Stands before the fake. */
  readonly toxic: Toxic
  readonly entry: ServerEntry
}

async function withRemote(
  [transport, eras]: (typeof REMOTES)[number],
  holdfast: Readonly<Record<string, unknown>>,
  use: (world: World) => Promise<void>,
): Promise<void> {
  await withFakes([{ transport, script: { ...HOLDING, eras } }], async fake => {
    const toxic = await openToxic(fake)
    const entry = options(toxic.entry, holdfast)
    try {
      await withGateway({ mcpServers: { a: entry } }, async gateway => {
        await gateway.waitForState('a', 'ready')
        await gateway.settled()
        const client = await connectV1Http(gateway.url)
        try {
          await use({ gateway, client, fake, toxic, entry })
        } finally {
          await client.close()
        }
      })
    } finally {
      toxic.close()
    }
  })
}

const renewed = (entry: ServerEntry): ServerEntry => ({ ...entry, headers: { 'x-revision': '1' } })

/** A session is ended in the words of its transport. */
async function expectEnded(fake: Fake, sessions: readonly string[]): Promise<void> {
  const how = fake.transport === 'sse' ? 'disconnect' : 'delete'
  await fake.records.waitFor(records => records.ofKind('session-end').length >= sessions.length)
  const ends = fake.records.ofKind('session-end').map(end => [end.session, end.how])
  expect(ends).toEqual(sessions.map(session => [session, how]))
}

describe('a remote server that leaves with a reload', () => {
  for (const way of REMOTES) {
    const [transport, eras] = way
    verifies(
      ['M156'],
      `has its session ended and its connections closed, after the call under way (${eras} ${transport})`,
      () =>
        withRemote(way, {}, async ({ gateway, client, fake, toxic }) => {
          const { sessions } = fake.records
          const held = callTool(client, 'a__hold', { mine: 1 })
          await fake.records.waitFor(records => records.runs('hold') === 1)
          expect(await takeNow(gateway, {})).toMatchObject({ removed: ['a'] })
          const refused = await callTool(client, 'a__echo')
          expect(failureOf(refused)).toMatchObject({
            kind: 'unavailable',
            upstream: 'a',
            reason: 'removed from the configuration',
          })
          expect(fake.records.ofKind('session-end')).toEqual([])
          await fake.release('held')
          expect((await held).structuredContent).toEqual({ mine: 1 })
          await expectEnded(fake, sessions)
          await until('its connections are closed', () => connectionsTo(gateway.pid, toxic.port) === 0)
          expect(fake.records.cancelled.filter(({ method }) => method === 'tools/call')).toEqual([])
        }),
    )

    verifies(['M156'], `gives its place to its new version, and is ended (${eras} ${transport})`, () =>
      withRemote(way, {}, async ({ gateway, client, fake, toxic, entry }) => {
        const old = fake.records.sessions
        const held = callTool(client, 'a__hold', { mine: 1 })
        await fake.records.waitFor(records => records.runs('hold') === 1)
        expect(await takeNow(gateway, { a: renewed(entry) })).toMatchObject({ updated: ['a'] })
        expect((await callTool(client, 'a__echo', { n: 2 })).structuredContent).toEqual({ n: 2 })
        await fake.release('held')
        expect((await held).structuredContent).toEqual({ mine: 1 })
        await expectEnded(fake, old)
        expect(fake.records.sessions).toHaveLength(old.length * 2)
        await takeNow(gateway, {})
        await expectEnded(fake, fake.records.sessions)
        await until('its connections are closed', () => connectionsTo(gateway.pid, toxic.port) === 0)
      }),
    )

    verifies(
      ['M156', 'M158'],
      `and hangs is not waited for, and gone in the end (${eras} ${transport})`,
      () =>
        withRemote(way, { requestTimeout: '2s' }, async ({ gateway, client, fake, toxic }) => {
          const held = callTool(client, 'a__hold')
          await fake.records.waitFor(records => records.runs('hold') === 1)
          toxic.set('up', { timeout: {} })
          toxic.set('down', { timeout: {} })
          await takeNow(gateway, {})
          expect(connectionsTo(gateway.pid, toxic.port)).toBeGreaterThan(0)
          expect((await gateway.status()).upstreams).toEqual([])
          expect(failureOf(await held)).toMatchObject({ kind: 'timeout' })
          const isGone = () => connectionsTo(gateway.pid, toxic.port) === 0
          await until('its connections are closed', isGone, GONE_MS)
        }),
    )
  }
})

const QUESTION = {
  method: 'elicitation/create',
  params: { message: 'who?', requestedSchema: { type: 'object', properties: { name: { type: 'string' } } } },
}

describe('a server that leaves with a reload', () => {
  verifies(['M156'], 'ends the sessions of callers who can be asked too, after their answers', async () => {
    await withFakes([{ script: {} }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const client = await connectV1Http(gateway.url, { capabilities: { elicitation: {} } })
        const answers: (() => void)[] = []
        client.setRequestHandler(ElicitRequestSchema, async () => {
          await new Promise<void>(resolve => answers.push(resolve))
          return { action: 'accept', content: { name: 'me' } }
        })
        for (const [at, next] of [{ a: renewed(fake.entry) }, {}].entries()) {
          const asking = callTool(client, 'a__ask', QUESTION)
          await until('it asks', () => answers.length === at + 1)
          await takeNow(gateway, next)
          answers[at]?.()
          expect((await asking).structuredContent).toMatchObject({ answers: [{ content: { name: 'me' } }] })
        }
        const ended = () => fake.records.ofKind('session-end').map(({ session, how }) => `${session} ${how}`)
        const { sessions } = fake.records
        expect(sessions.length).toBeGreaterThan(2)
        await fake.records.waitFor(() => ended().length === sessions.length)
        expect([...ended()].sort()).toEqual(sessions.map(session => `${session} delete`).sort())
        await client.close()
      })
    })
  })

  verifies(['M156', 'M158'], 'before it was ever ready is given up', async () => {
    const hang = { kind: 'hang' } as const
    await withFakes(
      [
        { ...STUBBORN, script: { ...STUBBORN.script, faults: [{ on: 'start', do: hang }] } },
        { script: { faults: [{ on: '*', do: hang }] } },
      ],
      async (child, remote) => {
        const mark = freshMark()
        await withGateway(
          { mcpServers: { child: marked(child, mark), remote: remote.entry } },
          async gateway => {
            await until('it runs', () => findProcesses(mark).length === 2)
            await remote.records.waitFor(records => records.ofKind('request').length > 0)
            await takeNow(gateway, {})
            await assertNoneLeft(mark, GONE_MS)
            const port = Number(new URL(remote.url ?? '').port)
            await until('it is left alone', () => connectionsTo(gateway.pid, port) === 0)
          },
        )
      },
    )
  })
})

/** A gateway with a program that obeys nobody, and has a child of its own. */
const withStubborn = (
  use: (gateway: TestGateway, entry: ServerEntry, mark: string, fake: Fake) => Promise<void>,
) =>
  withFakes([STUBBORN], async fake => {
    const mark = freshMark()
    const entry = marked(fake, mark)
    await withGateway({ mcpServers: { a: entry } }, async gateway => {
      await gateway.waitForState('a', 'ready')
      await until('its own child runs', () => findProcesses(mark).length === 2)
      await use(gateway, entry, mark, fake)
    })
  })

describe('a program that leaves with a reload', () => {
  verifies(
    ['M156', 'M158'],
    'and ignores that is not waited for, and gone in the end with whatever it started',
    () =>
      withStubborn(async (gateway, _entry, mark) => {
        const { pid } = await gateway.upstream('a')
        await takeNow(gateway, {})
        expect(isAlive(pid ?? 0)).toBe(true)
        expect((await gateway.status()).upstreams).toEqual([])
        await assertNoneLeft(mark, GONE_MS)
      }),
  )

  verifies(['M156', 'M158'], 'and ignores that has its new version serve meanwhile', () =>
    withStubborn(async (gateway, entry, mark, fake) => {
      const old = findProcesses(mark).map(({ pid }) => pid)
      await takeNow(gateway, { a: { ...entry, env: { ...entry.env, REVISION: '1' } } })
      expect(old.every(isAlive)).toBe(true)
      const client = await connectV1Http(gateway.url)
      expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
      await client.close()
      expect(fake.records.ofKind('run').map(({ pid }) => old.includes(pid))).toEqual([false])
      await until('the old one is gone', () => !old.some(isAlive), GONE_MS)
      expect(findProcesses(mark)).toHaveLength(2)
    }),
  )

  verifies(['M156'], 'and ignores that is gone when the gateway is stopped meanwhile', () =>
    withStubborn(async (gateway, _entry, mark) => {
      await takeNow(gateway, {})
      expect(findProcesses(mark)).toHaveLength(2)
      expect(await gateway.stop()).toBe(0)
      await assertNoneLeft(mark, 100)
    }),
  )

  verifies(['M156'], 'and is killed with a second signal leaves nothing either', () =>
    withStubborn(async (gateway, _entry, mark) => {
      await takeNow(gateway, {})
      gateway.signal('SIGTERM')
      await until('it stops', () => /SIGTERM/.test(gateway.stderr))
      gateway.signal('SIGTERM')
      expect((await gateway.exit).code).toBe(130)
      await assertNoneLeft(mark)
    }),
  )
})

describe('a new version that hangs', () => {
  verifies(['M157'], 'is ended with the gateway that tries it', () =>
    withStubborn(async (gateway, entry, mark, fake) => {
      await fake.patch({ faults: [{ on: '*', do: { kind: 'hang' } }] })
      const text = configOf({ a: { ...entry, env: { ...entry.env, REVISION: '1' } } })
      writeFileSync(gateway.configFile, text)
      await until('it is tried', () => findProcesses(mark).length === 4)
      expect(await gateway.stop()).toBe(0)
      await assertNoneLeft(mark, 100)
    }),
  )
})
