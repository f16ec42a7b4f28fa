import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../../test/kit/run-folder.js'
import { verifies } from '../../test/kit/verifies.js'
import { type Component, EMPTY_CATALOG, LIMITS, type UpstreamCatalog } from '../model/index.js'
import type { SavedCatalog, SavedPins } from '../runtime/ports.js'
import { createMemory } from './memory.js'

const ID = 'a'.repeat(64)
const HOUR_MS = 60 * 60_000

function world(folder = freshFolder('memory')) {
  const warnings: string[] = []
  // The delay is never waited for: what a test wants written, it settles.
  const memory = createMemory({ folder, warn: message => warnings.push(message), delayMs: 60_000 })
  const place = join(folder, 'catalogs')
  const again = () => createMemory({ folder, warn: message => warnings.push(message), delayMs: 60_000 })
  return { memory, warnings, folder, place, again, file: join(place, `${ID}.catalog`) }
}

const tool = (key: string, json: string): Component => ({ kind: 'tools', key, bytes: Buffer.from(json) })
const CATALOG: UpstreamCatalog = {
  ...EMPTY_CATALOG,
  tools: {
    state: 'live',
    fetchedAt: 5,
    cacheScope: 'public',
    items: [
      tool('big', '{"name":"big","n":12345678901234567890,\n"x":1E400}'),
      { ...tool('é\n', '{"name":"é\\n"}'), headerParams: [{ path: ['a', 'b'], header: 'X' }] },
    ],
  },
  prompts: { state: 'absent' },
}
const SAVED: SavedCatalog = { catalog: CATALOG, knownAt: 1_000 }

function loaded(content: SavedCatalog | 'lost' | null): SavedCatalog {
  if (content === null || content === 'lost') throw new Error(`It is ${content}.`)
  return content
}

/** Each list as what survives: keys, texts, times. */
function shape({ catalog, knownAt }: SavedCatalog) {
  const kinds = Object.entries(catalog).map(([kind, known]) => ({
    kind,
    ...known,
    items: 'items' in known ? known.items.map(item => ({ ...item, bytes: item.bytes.toString() })) : [],
  }))
  return { kinds, knownAt }
}

describe('what is kept of a catalog', () => {
  verifies(
    ['CAT-SNAPSHOT'],
    'comes back byte for byte, as stale, in a file for its owner alone',
    async () => {
      const { memory, again, file, place, warnings } = world()
      memory.catalogs.save(ID, SAVED)
      await memory.settle()
      expect(statSync(file).mode & 0o777).toBe(0o600)
      expect(statSync(place).mode & 0o777).toBe(0o700)
      const back = loaded(again().catalogs.load(ID, 'files'))
      const stale = { ...CATALOG, tools: { ...CATALOG.tools, state: 'stale' } } as UpstreamCatalog
      expect(shape(back)).toEqual(shape({ catalog: stale, knownAt: 1_000 }))
      expect(readdirSync(place)).toEqual([`${ID}.catalog`])
      expect(again().catalogs.load('b'.repeat(64), 'files')).toBeNull()
      expect(warnings).toEqual([])
    },
  )

  test('comes back before it is written, in the same shape, and not as the very same thing', async () => {
    const { memory, again, file } = world()
    memory.catalogs.save(ID, SAVED)
    const early = loaded(memory.catalogs.load(ID, 'files'))
    expect(existsSync(file)).toBe(false)
    expect(early).not.toBe(SAVED)
    const writing = memory.settle()
    expect(shape(loaded(memory.catalogs.load(ID, 'files')))).toEqual(shape(early))
    await writing
    expect(shape(loaded(again().catalogs.load(ID, 'files')))).toEqual(shape(early))
  })

  test('comes back whatever the texts are', async () => {
    const { memory, again } = world()
    const items = fc.array(
      fc.record({ key: fc.string({ unit: 'binary' }), json: fc.string({ unit: 'binary', minLength: 1 }) }),
    )
    await fc.assert(
      fc.asyncProperty(items, async all => {
        const catalog: UpstreamCatalog = {
          ...EMPTY_CATALOG,
          tools: { state: 'stale', fetchedAt: 1, items: all.map(({ key, json }) => tool(key, json)) },
        }
        memory.catalogs.save(ID, { catalog, knownAt: 2 })
        await memory.settle()
        expect(shape(loaded(again().catalogs.load(ID, 'files')))).toEqual(shape({ catalog, knownAt: 2 }))
      }),
      { numRuns: 30 },
    )
  })

  test('is written after a moment by itself, many changes once', async () => {
    const folder = freshFolder('memory')
    const memory = createMemory({ folder, warn: () => undefined, delayMs: 20 })
    for (let knownAt = 0; knownAt < 100; knownAt += 1) memory.catalogs.save(ID, { ...SAVED, knownAt })
    const file = join(folder, 'catalogs', `${ID}.catalog`)
    expect(existsSync(file)).toBe(false)
    await expect.poll(() => existsSync(file)).toBe(true)
    expect(loaded(memory.catalogs.load(ID, 'files')).knownAt).toBe(99)
    expect(LIMITS.archiveDelayMs).toBe(2_000)
  })

  test('is whole when several gateways write at the same time', async () => {
    const { folder, place, warnings } = world()
    const all = Array.from({ length: 8 }, () => world(folder).memory)
    for (let round = 0; round < 5; round += 1) {
      for (const [knownAt, memory] of all.entries()) memory.catalogs.save(ID, { ...SAVED, knownAt })
      await Promise.all(all.map(memory => memory.settle()))
      expect(loaded(world(folder).memory.catalogs.load(ID, 'files')).catalog.tools.state).toBe('stale')
    }
    expect(readdirSync(place)).toEqual([`${ID}.catalog`])
    expect(warnings).toEqual([])
  })

  test('never stops the event loop for long, 10,000 tools included', async () => {
    const { memory } = world()
    const text = JSON.stringify({ name: 'x', description: 'y'.repeat(900) })
    for (let server = 0; server < 5; server += 1) {
      const items = Array.from({ length: 2_000 }, (_, n) => tool(`t${n}`, text))
      const catalog: UpstreamCatalog = { ...EMPTY_CATALOG, tools: { state: 'live', fetchedAt: 1, items } }
      memory.catalogs.save(String(server).repeat(64), { catalog, knownAt: 1 })
    }
    let longest = 0
    let last = performance.now()
    let over = false
    const look = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      if (!over) setImmediate(look)
    }
    setImmediate(look)
    await memory.settle()
    over = true
    expect(longest).toBeLessThan(400)
  })
})

const OVERWRITE: Readonly<Record<string, (file: string) => void>> = {
  'cut short': file => truncateSync(file, statSync(file).size - 5),
  empty: file => writeFileSync(file, ''),
  'with a byte that changed': file => {
    const bytes = readFileSync(file)
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1
    writeFileSync(file, bytes)
  },
  'without sense': file => writeFileSync(file, '{"version":1}'),
  'of another server': file => {
    const bytes = readFileSync(file)
    const at = bytes.indexOf(0x0a) + 1
    const body = Buffer.from(bytes.subarray(at).toString().replace('aaaa', 'bbbb'))
    writeFileSync(file, `catalog 1 ${createHash('sha256').update(body).digest('hex')}\n${body.toString()}`)
  },
  'with a whole, wrong shape': file => {
    const body = `{"id":"${ID}","content":{"knownAt":1,"kinds":{"tools":{"fetchedAt":1,"items":[["a",99]]}}}}\n{}`
    writeFileSync(file, `catalog 1 ${createHash('sha256').update(body).digest('hex')}\n${body}`)
  },
  'that others may write to': file => chmodSync(file, 0o622),
  'that is a link': file => {
    writeFileSync(`${file}.real`, readFileSync(file), { mode: 0o600 })
    rmSync(file)
    symlinkSync(`${file}.real`, file)
  },
  'that is a folder': file => {
    rmSync(file)
    mkdirSync(file)
  },
}

describe('a file that cannot be trusted', () => {
  for (const [what, spoil] of Object.entries(OVERWRITE)) {
    verifies(['E69', 'CAT-SNAPSHOT'], `one ${what} is set aside with one line, and is not used`, async () => {
      const { memory, again, file, warnings } = world()
      memory.catalogs.save(ID, SAVED)
      await memory.settle()
      spoil(file)
      expect(again().catalogs.load(ID, 'files')).toBe('lost')
      expect(warnings).toHaveLength(1)
      expect(warnings[0]).toContain(`The kept list of what files offered (${file}) cannot be used: `)
      expect(warnings[0]).toContain(`it was moved to ${file}.corrupt`)
      expect(existsSync(`${file}.corrupt`)).toBe(true)
      expect(again().catalogs.load(ID, 'files')).toBeNull()
      expect(warnings).toHaveLength(1)
      memory.catalogs.save(ID, SAVED)
      await memory.settle()
      expect(loaded(again().catalogs.load(ID, 'files')).knownAt).toBe(1_000)
    })
  }

  for (const version of [0, 2]) {
    verifies(['CAT-SNAPSHOT'], `one of version ${version} is set aside as old`, async () => {
      const { memory, again, file, warnings } = world()
      memory.catalogs.save(ID, SAVED)
      await memory.settle()
      writeFileSync(file, readFileSync(file).toString('latin1').replace('catalog 1', `catalog ${version}`))
      expect(again().catalogs.load(ID, 'files')).toBe('lost')
      expect(warnings).toEqual([
        expect.stringContaining(`it is of version ${version}; it was moved to ${file}.old`),
      ])
    })
  }

  test('one that is too large is not even read', async () => {
    const { memory, again, file, warnings } = world()
    memory.catalogs.save(ID, SAVED)
    await memory.settle()
    truncateSync(file, LIMITS.archiveBytes + 1)
    expect(again().catalogs.load(ID, 'files')).toBe('lost')
    expect(warnings[0]).toContain(`it is larger than ${LIMITS.archiveBytes} bytes`)
  })
})

describe('a folder that cannot be used', () => {
  verifies(['CAT-SNAPSHOT'], 'costs one warning, however much is saved', async () => {
    const folder = freshFolder('memory')
    writeFileSync(join(folder, 'catalogs'), 'in the way')
    const { memory, warnings } = world(folder)
    expect(memory.catalogs.load(ID, 'files')).toBe('lost')
    for (let n = 0; n < 3; n += 1) {
      memory.catalogs.save(ID, SAVED)
      await memory.settle()
    }
    expect(warnings).toEqual([
      expect.stringMatching(/^The kept list of what the servers offered cannot be kept on disk \(/),
    ])
  })

  test('as a link to somewhere else is not followed', async () => {
    const { memory, folder, place, again, warnings } = world()
    memory.catalogs.save(ID, SAVED)
    await memory.settle()
    const elsewhere = freshFolder('elsewhere')
    symlinkSync(place, join(elsewhere, 'catalogs'))
    expect(world(elsewhere).memory.catalogs.load(ID, 'files')).toBe('lost')
    expect(loaded(again().catalogs.load(ID, 'files')).knownAt).toBe(1_000)
    expect(warnings).toEqual([])
    expect(readdirSync(folder)).toEqual(['catalogs'])
  })

  test('that is none at all: nothing outlives the gateway', async () => {
    const memory = createMemory({ folder: null, warn: () => undefined })
    memory.catalogs.save(ID, SAVED)
    await memory.settle()
    expect(memory.catalogs.load(ID, 'files')).toBeNull()
    expect(memory.digest('x')).toMatch(/^[0-9a-f]{64}$/)
  })
})

describe('pins', () => {
  const PINS: SavedPins = {
    kinds: ['tools', 'prompts'],
    pins: [
      { kind: 'tools', key: 'read', bytes: Buffer.from('{"name":"read"}'), told: null },
      { kind: 'prompts', key: 'é', bytes: Buffer.from('{"name":"é"}'), told: { hash: 'h', at: 7 } },
    ],
  }

  test('come back as they were, beside the lists and apart from them', async () => {
    const { memory, again, place } = world()
    memory.pins.save(ID, PINS)
    memory.catalogs.save(ID, SAVED)
    await memory.settle()
    expect(again().pins.load(ID, 'files')).toEqual(PINS)
    expect(readdirSync(place).sort()).toEqual([`${ID}.catalog`, `${ID}.pins`])
  })

  verifies(['CAT-PIN-ENFORCE'], 'that are spoilt are lost, not empty', async () => {
    const { memory, again, place, warnings } = world()
    memory.pins.save(ID, PINS)
    await memory.settle()
    writeFileSync(join(place, `${ID}.pins`), 'pins 1')
    expect(again().pins.load(ID, 'files')).toBe('lost')
    expect(warnings).toEqual([
      expect.stringContaining('The pinned descriptions of the tools and prompts of files'),
    ])
  })
})

describe('litter', () => {
  test('goes: lists that nobody has used for a day, pins for a year, what was set aside, halves', async () => {
    const { memory, place, again } = world()
    memory.catalogs.save(ID, SAVED)
    memory.pins.save(ID, { kinds: [], pins: [] })
    await memory.settle()
    const old = (name: string, hours: number) => {
      const path = join(place, name)
      writeFileSync(path, '')
      const at = new Date(Date.now() - hours * HOUR_MS)
      utimesSync(path, at, at)
    }
    const b = 'b'.repeat(64)
    const c = 'c'.repeat(64)
    old(`${b}.catalog`, 25)
    old(`${c}.catalog`, 23)
    old(`${b}.pins`, 366 * 24)
    old(`${c}.pins`, 364 * 24)
    old(`${b}.catalog.corrupt`, 8 * 24)
    old(`${c}.catalog.corrupt`, 6 * 24)
    old(`${b}.pins.old`, 8 * 24)
    old(`${b}.catalog.0011223344556677.part`, 2)
    old(`${c}.catalog.0011223344556677.part`, 0)
    old('notes.catalog', 9_999)
    await again().sweep()
    expect(readdirSync(place).sort()).toEqual(
      [
        `${ID}.catalog`,
        `${ID}.pins`,
        `${c}.catalog`,
        `${c}.catalog.0011223344556677.part`,
        `${c}.catalog.corrupt`,
        `${c}.pins`,
        'notes.catalog',
      ].sort(),
    )
    await createMemory({ folder: '/proc/none', warn: () => undefined }).sweep()
  })
})
