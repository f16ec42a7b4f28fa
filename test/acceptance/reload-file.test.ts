import {
  chmodSync,
  mkdirSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { connectV1Http } from '../kit/clients.js'
import { dice } from '../kit/dice.js'
import { type ServerEntry, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway, writeConfig } from '../kit/gateway.js'
import { descendantsOf, descriptorsOf, watchesOf } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'
import { SAVES } from '../kit/save.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { configOf, ECHO, generationOf } from './reload-shared.js'
import { callTool, options } from './shared.js'

const LATE_EDIT = fileURLToPath(new URL('../kit/late-edit.mjs', import.meta.url))
const STDIO = { transport: 'stdio', script: ECHO } as const
/** Root may read everything. */
const IS_ROOT = process.getuid?.() === 0
const NO_FILE = /there is no file/
const NO_JSON = /not valid JSON/
const HALF = '{"mcpServers":{"a":'

interface Misfortune {
  spoil(path: string): unknown
  /** Puts a good text there; default a plain write. */
  mend?(path: string, text: string): unknown
  /** What status and log say of it. */
  readonly told: RegExp
}

/** Spoils the way that a mended one takes too. */
function linkTo(path: string, target: string): void {
  symlinkSync(target, `${path}.link`)
  renameSync(`${path}.link`, path)
}

const MISFORTUNES: Readonly<Record<string, Misfortune>> = {
  'half written': { spoil: path => writeFileSync(path, HALF), told: NO_JSON },
  empty: { spoil: path => writeFileSync(path, ''), told: /the file is empty/ },
  'no text': { spoil: path => writeFileSync(path, Buffer.from([0, 255, 254, 0, 1])), told: /not UTF-8/ },
  deleted: { spoil: unlinkSync, told: NO_FILE },
  'replaced by a rename': {
    spoil: path => SAVES['by a rename'](path, HALF),
    mend: SAVES['by a rename'],
    told: NO_JSON,
  },
  'behind a link that was moved': {
    spoil: path => SAVES['behind a link'](path, HALF),
    mend: SAVES['behind a link'],
    told: NO_JSON,
  },
  'behind the link of its folder, as Kubernetes does it,': {
    spoil: path => SAVES['behind the link of its folder'](path, HALF),
    mend: SAVES['behind the link of its folder'],
    told: NO_JSON,
  },
  'a link to nowhere': {
    spoil: path => linkTo(path, 'nowhere.json'),
    mend: SAVES['by a rename'],
    told: NO_FILE,
  },
  'a link to itself': {
    spoil: path => linkTo(path, basename(path)),
    mend: SAVES['by a rename'],
    told: /ELOOP/,
  },
  'a folder': {
    spoil: path => {
      unlinkSync(path)
      mkdirSync(path)
    },
    mend: (path, text) => {
      rmdirSync(path)
      writeFileSync(path, text)
    },
    told: /is a folder/,
  },
  'gone with its folder': {
    spoil: path => rmSync(dirname(path), { recursive: true }),
    mend: (path, text) => {
      mkdirSync(dirname(path))
      writeFileSync(path, text)
    },
    told: NO_FILE,
  },
  'gone with its folder, which is another one later,': {
    spoil: path => renameSync(dirname(path), join(freshFolder('away'), 'config')),
    mend: (path, text) => {
      mkdirSync(`${dirname(path)}.new`)
      writeFileSync(join(`${dirname(path)}.new`, basename(path)), text)
      renameSync(`${dirname(path)}.new`, dirname(path))
    },
    told: NO_FILE,
  },
  ...(IS_ROOT
    ? {}
    : {
        unreadable: {
          spoil: path => chmodSync(path, 0),
          mend: SAVES['by a rename'],
          told: /EACCES|permission/i,
        },
      }),
}

const nameOf = (gateway: TestGateway) =>
  gateway.status().then(({ upstreams }) => upstreams.map(({ name }) => name))

async function expectServing(gateway: TestGateway, pid: number | null): Promise<void> {
  expect(await gateway.upstream('a')).toMatchObject({ state: 'ready', pid })
  const client = await connectV1Http(gateway.url)
  expect((await callTool(client, 'a__echo', { n: 1 })).structuredContent).toEqual({ n: 1 })
  await client.close()
}

async function survives({ spoil, told, mend = writeFileSync }: Misfortune): Promise<void> {
  await withFakes([STDIO, STDIO], async (a, b) => {
    const good = configOf({ a: a.entry })
    await withGateway(writeConfig(good), async gateway => {
      const { pid } = await gateway.waitForState('a', 'ready')
      const broken = () => gateway.waitFor(({ gateway: { config } }) => config.lastError != null)
      const mended = (n: number) =>
        gateway.waitFor(({ gateway: { config } }) => config.lastError === null && config.generation === n)
      for (const [text, generation] of [
        [good, 1],
        [configOf({ b: b.entry, a: a.entry }), 2],
      ] as const) {
        await spoil(gateway.configFile)
        const { gateway: now } = await broken()
        expect(now.config.generation).toBe(1)
        expect(now.config.lastError?.message).toMatch(told)
        await expectServing(gateway, pid)
        await mend(gateway.configFile, text)
        await mended(generation)
        expect(await nameOf(gateway)).toEqual(generation === 1 ? ['a'] : ['b', 'a'])
        await expectServing(gateway, pid)
      }
      expect(gateway.stderr.match(/is not taken over/g)).toHaveLength(2)
    })
  })
}

// They wait most of their time.
describe.concurrent('a config file that is', () => {
  for (const [what, misfortune] of Object.entries(MISFORTUNES)) {
    verifies(
      ['M162', 'F61'],
      `${what} leaves the old config until there is a good one, which is taken over by itself`,
      () => survives(misfortune),
    )
  }
})

describe('a config file', () => {
  verifies(['M162'], 'is taken over in whatever way it is saved', async () => {
    await withFakes([STDIO], async a => {
      await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
        const { pid } = await gateway.waitForState('a', 'ready')
        for (const [at, save] of [...Object.values(SAVES), ...Object.values(SAVES)].entries()) {
          await save(gateway.configFile, configOf({ a: options(a.entry, { prefix: `p${at}` }) }))
          await gateway.waitFor(({ upstreams }) => upstreams[0]?.prefix === `p${at}`)
          const { generation, lastError } = (await gateway.status()).gateway.config
          expect({ generation, lastError }).toEqual({ generation: at + 2, lastError: null })
        }
        expect(await gateway.upstream('a')).toMatchObject({ pid })
      })
    })
  })

  verifies(['M162'], 'that changes while the gateway starts is taken over too', async () => {
    await withFakes([STDIO, STDIO], async (a, b) => {
      const path = writeConfig({ mcpServers: { a: a.entry } })
      const env = {
        NODE_OPTIONS: `--import=${LATE_EDIT}`,
        LATE_EDIT_FILE: path,
        LATE_EDIT_TEXT: configOf({ a: a.entry, b: b.entry }),
      }
      await withGateway(
        path,
        async gateway => {
          await gateway.waitForState('a', 'ready')
          await gateway.waitFor(({ upstreams }) => upstreams.length === 2)
          expect(await generationOf(gateway)).toBe(2)
        },
        { env },
      )
    })
  })

  test('is not read again because of what an editor puts beside it', async () => {
    await withFakes([STDIO], async a => {
      const path = writeConfig({ mcpServers: { a: a.entry } })
      // With a later time of change each reading leaves its mark.
      utimesSync(path, new Date(), new Date(Date.now() + 3_600_000))
      await withGateway(path, async gateway => {
        await gateway.waitForState('a', 'ready')
        const readAt = statSync(path).atimeMs
        for (const name of ['.holdfast.json.swp', 'holdfast.json~', '4913', '#holdfast.json#']) {
          writeFileSync(join(dirname(path), name), HALF)
          await delay(50)
          unlinkSync(join(dirname(path), name))
        }
        await delay(700)
        expect(statSync(path).atimeMs).toBe(readAt)
        const { generation, lastError } = (await gateway.status()).gateway.config
        expect({ generation, lastError }).toEqual({ generation: 1, lastError: null })
      })
    })
  })

  verifies(
    ['M159'],
    'that is written a hundred times is taken over as it was last, and nothing is kept of the others',
    async () => {
      await withFakes([STDIO, STDIO], async (a, b) => {
        await withGateway({ mcpServers: { a: a.entry } }, async gateway => {
          const { pid } = await gateway.waitForState('a', 'ready')
          const holds = () => ({
            children: descendantsOf(gateway.pid).length,
            descriptors: descriptorsOf(gateway.pid).length,
            watches: watchesOf(gateway.pid),
          })
          const before = holds()
          const last = await writeOften(gateway, a.entry, b.entry)
          const isLast = () => gateway.upstream('a').then(({ prefix }) => prefix === last)
          await until('the last one is taken over', isLast)
          const { generation = 0, lastError } = (await gateway.status()).gateway.config
          expect(lastError).toBeNull()
          expect(generation).toBeGreaterThan(5)
          expect(generation).toBeLessThanOrEqual(101)
          expect(await nameOf(gateway)).toEqual(['a'])
          expect(await gateway.upstream('a')).toMatchObject({ pid, restarts: 0 })
          const { children, watches, descriptors } = before
          await until('what left is gone', () => holds().children === children)
          expect(holds().watches).toBe(watches)
          // Of those who look at the status some may be there at either time.
          expect(holds().descriptors).toBeLessThanOrEqual(descriptors + 3)
        })
      })
    },
    90_000,
  )
})

/** In bursts, with pauses in which the watch looks. @returns the last prefix of `a` */
async function writeOften(gateway: TestGateway, a: ServerEntry, b: ServerEntry): Promise<string> {
  const random = dice(159)
  const scratch = join(freshFolder('scratch'), 'next.json')
  for (let at = 0; at < 100; at += 1) {
    const others = at < 99 ? { b: { ...b, env: { ROUND: String(at) } } } : {}
    const text = configOf({ a: options(a, { prefix: `p${at}` }), ...(random() < 0.7 ? others : {}) })
    if (random() < 0.5) writeFileSync(gateway.configFile, text)
    else {
      writeFileSync(scratch, text)
      renameSync(scratch, gateway.configFile)
    }
    await delay(random() < 0.15 ? 400 : 40)
  }
  return 'p99'
}
