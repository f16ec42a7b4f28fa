import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { connectV1Http } from '../kit/clients.js'
import { type FakeTransport, type ServerEntry, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { rawRequest } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { expectWithin } from '../kit/slowness.js'
import { verifies } from '../kit/verifies.js'
import { callTool, failureOf, missingIn } from './shared.js'

const WHOLE = {
  builtins: ['echo'],
  tools: [{ name: 'extra' }],
  resources: [{ uri: 'demo://x' }],
  resourceTemplates: [{ uriTemplate: 'demo://{id}' }],
  prompts: [{ name: 'p' }],
} as const

type Servers = Readonly<Record<string, ServerEntry>>

/** Gateways one after the other, over one state folder. */
function lives() {
  const state = freshFolder('state')
  const folder = join(state, 'catalogs')
  const run = <T>(mcpServers: Servers, use: (gateway: TestGateway) => Promise<T>) =>
    withGateway({ mcpServers }, use, { env: { HOLDFAST_STATE_DIR: state } })
  const learn = (mcpServers: Servers) =>
    run(mcpServers, async gateway => {
      await gateway.settled()
    })
  const files = (kind: string) =>
    readdirSync(folder)
      .filter(name => name.endsWith(`.${kind}`))
      .map(name => join(folder, name))
  return { state, folder, run, learn, files }
}

async function withClientOf<T>(
  gateway: TestGateway,
  use: (client: Awaited<ReturnType<typeof connectV1Http>>) => Promise<T>,
): Promise<T> {
  const client = await connectV1Http(gateway.url)
  try {
    return await use(client)
  } finally {
    await client.close()
  }
}

const namesIn = (result: { tools: readonly { name: string }[] }) => result.tools.map(({ name }) => name)

/** The tools as a client of the gateway sees them at that moment. */
function toolsOf(gateway: TestGateway): Promise<string[]> {
  return withClientOf(gateway, async client => namesIn(await client.listTools()))
}

describe('after a restart', () => {
  for (const transport of ['http', 'stdio'] as const satisfies FakeTransport[]) {
    verifies(
      ['CAT-SNAPSHOT'],
      `with every server down (${transport}), all lists are answered in under 1 s, as old`,
      async () => {
        await withFakes(
          [
            { transport, script: WHOLE },
            { transport, script: { builtins: false, tools: [{ name: 'b' }] } },
          ],
          async (a, b) => {
            const { run, learn } = lives()
            const servers = { a: a.entry, b: b.entry }
            await learn(servers)
            if (transport === 'http') await Promise.all([a.crash(), b.crash()])
            else
              for (const fake of [a, b])
                await fake.patch({ faults: [{ on: 'start', do: { kind: 'crash', code: 1 } }] })
            await run(servers, async gateway => {
              await withClientOf(gateway, async client => {
                const started = performance.now()
                const tools = await client.listTools()
                const others = [
                  (await client.listResources()).resources.length,
                  (await client.listResourceTemplates()).resourceTemplates.length,
                  (await client.listPrompts()).prompts.length,
                ]
                await expectWithin(performance.now() - started, 600)
                expect(gateway.readyMs).toBeLessThan(5_000)
                expect(namesIn(tools)).toEqual(['a__extra', 'a__echo', 'b__b'])
                expect(others).toEqual([1, 1, 1])
                expect(missingIn(tools)).toMatchObject([
                  { upstream: 'a', stale: true },
                  { upstream: 'b', stale: true },
                ])
                await gateway.settled()
                const failure = failureOf(await callTool(client, 'a__echo'))
                expect(failure).toMatchObject({ kind: 'unavailable', upstream: 'a' })
                const { catalog } = await gateway.upstream('a')
                expect(catalog).toMatchObject({ state: 'stale', tools: 2, prompts: 1 })
                expect(Date.now() - Date.parse(catalog.refreshedAt ?? '')).toBeLessThan(60_000)
              })
            })
          },
        )
      },
    )
  }

  verifies(
    ['CAT-SNAPSHOT'],
    'a call to a server that is still starting waits for it, and lists do not',
    async () => {
      await withFakes([{ transport: 'stdio', script: WHOLE }], async fake => {
        const { run, learn } = lives()
        const servers = { a: fake.entry }
        await learn(servers)
        await fake.patch({ faults: [{ on: 'initialize', do: { kind: 'delay', ms: 1_500 } }] })
        await run(servers, async gateway => {
          await withClientOf(gateway, async client => {
            const started = performance.now()
            const call = callTool(client, 'a__echo', { n: 1 })
            expect(namesIn(await client.listTools())).toEqual(['a__extra', 'a__echo'])
            await expectWithin(performance.now() - started, 500)
            expect((await call).structuredContent).toEqual({ n: 1 })
          })
        })
      })
    },
  )

  verifies(
    ['CAT-SNAPSHOT'],
    'another server under the same name shows nothing of the earlier one',
    async () => {
      await withFakes([{ script: WHOLE }], async fake => {
        const { run, learn, files } = lives()
        const secret = 'k3y-v3ry-s3cret'
        const url = `${fake.url}?token=${secret}`
        const entry: ServerEntry = { type: 'http', url, headers: { 'x-key': secret } }
        await learn({ a: entry })
        await fake.crash()
        const others: ServerEntry[] = [
          { ...entry, headers: { 'x-key': 'another' } },
          { ...entry, url: `${fake.url}?token=another` },
          { command: process.execPath, args: ['-e', 'process.exit(1)'], env: { KEY: secret } },
        ]
        for (const other of others)
          await run({ a: other }, async gateway => {
            expect(await toolsOf(gateway)).toEqual([])
          })
        await run({ b: entry }, async gateway => expect(await toolsOf(gateway)).toEqual([]))
        await run({ a: entry }, async gateway => expect(await toolsOf(gateway)).toHaveLength(2))
        const texts = [...files('catalog'), ...files('pins')].map(
          file => `${file} ${readFileSync(file, 'latin1')}`,
        )
        expect(texts.length).toBeGreaterThanOrEqual(2)
        for (const text of texts) {
          expect(text).not.toContain(secret)
          expect(text).not.toContain(fake.url ?? '')
        }
        for (const file of files('catalog')) expect(statSync(file).mode & 0o777).toBe(0o600)
      })
    },
  )
})

describe('a snapshot that cannot be used', () => {
  verifies(['CAT-SNAPSHOT', 'E69'], 'is told of in one line, and the gateway works without it', async () => {
    await withFakes([{ script: WHOLE }], async fake => {
      const { run, learn, files } = lives()
      const servers = { a: fake.entry }
      const spoil: [RegExp, (file: string) => void][] = [
        [
          /its checksum is wrong; it was moved to .*\.corrupt/,
          file => writeFileSync(file, ' ', { flag: 'a' }),
        ],
        [
          /it is of version 0; it was moved to .*\.old/,
          file =>
            writeFileSync(file, readFileSync(file, 'latin1').replace('catalog 1 ', 'catalog 0 '), 'latin1'),
        ],
      ]
      for (const [line, damage] of spoil) {
        await learn(servers)
        const [file = ''] = files('catalog')
        damage(file)
        await run(servers, async gateway => {
          await gateway.settled()
          expect(await toolsOf(gateway)).toEqual(['a__extra', 'a__echo'])
          const told = gateway.stderr
            .split('\n')
            .filter(text => text.includes('The kept list of what a offered'))
          expect(told, gateway.stderr).toEqual([expect.stringMatching(line)])
        })
      }
    })
  })

  verifies(['CAT-SNAPSHOT'], 'for want of a folder that can be written costs one line', async () => {
    await withFakes([{ script: WHOLE }], async fake => {
      const { run, state } = lives()
      writeFileSync(join(state, 'catalogs'), '')
      chmodSync(join(state, 'catalogs'), 0o400)
      await run({ a: fake.entry }, async gateway => {
        await gateway.settled()
        expect(await toolsOf(gateway)).toEqual(['a__extra', 'a__echo'])
        expect((await rawRequest(`${gateway.origin}/healthz`, { method: 'GET' })).status).toBe(200)
        await gateway.stop()
        const told = gateway.stderr.split('\n').filter(text => text.includes('cannot be kept on disk'))
        expect(told.filter(text => text.includes('The kept list'))).toHaveLength(1)
      })
    })
  })
})
