import { describe, expect } from 'vitest'
import { createGateway } from '../../src/index.js'
import { connectV1Http } from '../kit/clients.js'
import { type Fake, type FakeTransport, type Script, withFakes } from '../kit/fake-mcp.js'
import { runCommand, type TestGateway, withGateway, writeConfig } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { freshFolder } from '../kit/run-folder.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, options } from './shared.js'

const described = (description: string, ...more: string[]): Script => ({
  builtins: false,
  tools: [
    { name: 'pay', descriptor: { description }, behaves: 'echo' },
    ...more.map(name => ({ name, behaves: 'echo' })),
  ],
})

interface World {
  readonly gateway: TestGateway
  readonly client: Awaited<ReturnType<typeof connectV1Http>>
}

/** One life of a gateway in front of the server, which is called `a`. */
function life(fake: Fake, state: string, pin: string, use: (world: World) => Promise<void>): Promise<void> {
  const mcpServers = { a: options(fake.entry, { pin }) }
  const env = { HOLDFAST_STATE_DIR: state }
  return withGateway(
    { mcpServers },
    async gateway => {
      await gateway.settled()
      const client = await connectV1Http(gateway.url)
      try {
        await use({ gateway, client })
      } finally {
        await client.close()
      }
    },
    { env },
  )
}

async function names({ client }: World): Promise<string[]> {
  return (await client.listTools()).tools.map(({ name }) => name)
}

/** The server describes itself anew, and says so. */
async function turn(fake: Fake, { gateway }: World, script: Script): Promise<void> {
  await fake.set(script)
  const before = (await gateway.upstream('a')).catalog.refreshedAt
  await fake.announce('tools')
  await gateway.waitFor(({ upstreams }) => upstreams.some(({ catalog }) => catalog.refreshedAt !== before))
}

const lines = ({ gateway }: World, text: string) =>
  gateway.stderr.split('\n').filter(line => line.includes(text))

for (const transport of ['stdio', 'http'] as const satisfies FakeTransport[]) {
  describe(`one word changes after some calls, on ${transport}`, () => {
    verifies(
      ['CAT-PIN-WARN'],
      'with warn it is told once and stays usable until a person approves it',
      async () => {
        await withFakes([{ transport, script: described('Pays the bill.') }], async fake => {
          const state = freshFolder('state')
          await life(fake, state, 'warn', async world => {
            const { gateway, client } = world
            for (let n = 0; n < 5; n += 1) await callTool(client, 'a__pay', { n })
            await turn(fake, world, described('Pays the bully.'))
            expect(await names(world)).toEqual(['a__pay'])
            expect((await callTool(client, 'a__pay', { n: 6 })).structuredContent).toEqual({ n: 6 })
            const status = await gateway.upstream('a')
            expect(status).toMatchObject({ state: 'ready', health: 'healthy', action: 'approve' })
            expect(status.catalog).toMatchObject({ state: 'live', tools: 1, held: [] })
            expect(status.catalog.changed).toEqual([
              {
                kind: 'tools',
                name: 'pay',
                changed: ['description'],
                diff: 'description: "Pays the bill." → "Pays the bully."',
                at: expect.stringMatching(/^\d{4}-/),
              },
            ])
            expect(lines(world, 'is not described as it was')).toHaveLength(1)
          })
          await life(fake, state, 'warn', async world => {
            const { gateway } = world
            expect((await gateway.upstream('a')).catalog.changed).toHaveLength(1)
            expect(lines(world, 'is not described as it was')).toEqual([])
            const url = gateway.url
            const env = { HOLDFAST_STATE_DIR: state }
            expect(await runCommand(['approve', 'a', '--url', url], { env })).toMatchObject({ code: 0 })
            expect(await gateway.upstream('a')).toMatchObject({ action: 'none', catalog: { changed: [] } })
          })
          await fake.set(described('Pays the bull.'))
          const config = writeConfig({
            mcpServers: { a: options(fake.entry, { pin: 'warn' }) },
            holdfast: { listen: { port: await closedPort() } },
          })
          const alone = await runCommand(['approve', 'a', '--config', config, '--json'], {
            env: { HOLDFAST_STATE_DIR: state },
          })
          expect(JSON.parse(alone.stdout)).toMatchObject({ action: 'none', catalog: { changed: [] } })
          await life(fake, state, 'warn', async world => {
            expect((await world.gateway.upstream('a')).catalog.changed).toEqual([])
            expect(lines(world, 'is not described as it was')).toEqual([])
          })
        })
      },
    )

    verifies(
      ['CAT-PIN-ENFORCE'],
      'with enforce it is neither listed nor called until a person approves it, over a restart',
      async () => {
        await withFakes([{ transport, script: described('Pays the bill.', 'see') }], async fake => {
          const state = freshFolder('state')
          const env = { HOLDFAST_STATE_DIR: state }
          await life(fake, state, 'enforce', async world => {
            const { client, gateway } = world
            expect(await names(world)).toEqual(['a__pay', 'a__see'])
            for (let n = 0; n < 5; n += 1) await callTool(client, 'a__pay', { n })
            await turn(fake, world, described('Pays the bully.', 'see', 'steal'))
            const calls = fake.records.count('tools/call')
            expect(await names(world)).toEqual(['a__see'])
            const refused = await callTool(client, 'a__pay')
            expect(failureOf(refused)).toMatchObject({ kind: 'denied', upstream: 'a' })
            expect(refused.content[0]?.text).toContain('holdfast approve a pay')
            expect(failureOf(await callTool(client, 'a__steal'))).toMatchObject({ kind: 'denied' })
            expect(fake.records.count('tools/call')).toBe(calls)
            const status = await gateway.upstream('a')
            expect(status).toMatchObject({ action: 'approve', catalog: { state: 'held', tools: 1 } })
            expect(status.catalog.held).toEqual([
              { kind: 'tools', name: 'pay', because: 'changed' },
              { kind: 'tools', name: 'steal', because: 'new' },
            ])
          })
          await life(fake, state, 'enforce', async world => {
            const { client, gateway } = world
            expect(await names(world)).toEqual(['a__see'])
            const url = gateway.url
            const wrong = await runCommand(['approve', 'a', 'nothing', '--url', url], { env })
            expect(wrong.code).toBe(1)
            expect(wrong.stderr).toContain('a offers no tool or prompt named "nothing"')
            expect((await runCommand(['approve', 'a', 'pay', '--url', url], { env })).code).toBe(0)
            expect(await names(world)).toEqual(['a__pay', 'a__see'])
            expect((await callTool(client, 'a__pay', { n: 1 })).structuredContent).toEqual({ n: 1 })
            expect((await gateway.upstream('a')).catalog.held.map(({ name }) => name)).toEqual(['steal'])
          })
        })
      },
    )
  })
}

describe('a library gateway', () => {
  verifies(
    ['CAT-PIN-ENFORCE'],
    'approves through its handle, and refuses a name that is not offered',
    async () => {
      await withFakes([{ script: described('Pays the bill.') }], async fake => {
        const make = () => createGateway({ mcpServers: { lib: options(fake.entry, { pin: 'enforce' }) } })
        const first = await make()
        await first.settled()
        expect((await first.listTools()).tools).toHaveLength(1)
        await first.close()
        await fake.set(described('Pays the bully.'))
        await using gateway = await make()
        await gateway.settled()
        expect((await gateway.listTools()).tools).toEqual([])
        await expect(gateway.callTool('lib__pay')).rejects.toMatchObject({ code: 'DENIED', kind: 'denied' })
        const handle = gateway.upstream('lib')
        await expect(handle.approve(['no'])).rejects.toMatchObject({ code: 'INVALID_PARAMS' })
        expect(await handle.approve(['lib__pay'])).toMatchObject({
          action: 'none',
          catalog: { state: 'live' },
        })
        expect((await gateway.listTools()).tools).toHaveLength(1)
      })
    },
  )
})

describe('what a person does not see', () => {
  verifies(
    ['CAT-INVISIBLE', 'CAT-LOOKALIKE'],
    'is told once in the log and shown in status, and passes unchanged',
    async () => {
      const hidden = 'Adds.\u{E0041}\u202E'
      const script: Script = {
        builtins: false,
        tools: [{ name: 'add', descriptor: { description: hidden } }, { name: 'Add' }],
      }
      await withFakes([{ script }], async fake => {
        await life(fake, freshFolder('state'), 'off', async world => {
          const { gateway, client } = world
          expect((await client.listTools()).tools[0]?.description).toBe(hidden)
          expect((await gateway.upstream('a')).catalog.flagged).toEqual([
            { kind: 'tools', name: 'add', detail: 'U+E0041, U+202E in description' },
            { kind: 'tools', name: 'a__Add', detail: 'looks like a__add of a' },
          ])
          await expect.poll(() => lines(world, 'looks like a__add of a')).toHaveLength(1)
          expect(
            lines(world, 'holds characters that nobody sees: U+E0041, U+202E in description'),
          ).toHaveLength(1)
        })
      })
    },
  )
})
