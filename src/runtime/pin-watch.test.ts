import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type FakeMemory, fakeMemory } from '../../test/kit/fake-memory.js'
import { SPEC } from '../../test/kit/runtime-world.js'
import { verifies } from '../../test/kit/verifies.js'
import { virtualClock } from '../../test/kit/virtual-clock.js'
import {
  type Component,
  itemsIn,
  type Kind,
  type KindCatalog,
  LIMITS,
  type PinMode,
  type UpstreamSpec,
  usableIn,
} from '../model/index.js'
import { PinWatch } from './pin-watch.js'

type Offer = Readonly<Record<string, string>>

/** One run of a gateway; the memory outlives it. */
function run(pin: PinMode, memory: FakeMemory = fakeMemory(), clock = virtualClock()) {
  const warnings: string[] = []
  const watch = new PinWatch({ ...SPEC, pin }, { clock, memory }, message => warnings.push(message))
  const see = (offer: Offer, kind: Kind = 'tools') => watch.admit(kind, live(offer, kind))
  /** Names that may be used once the server offers these descriptions. */
  const usable = (offer: Offer, kind: Kind = 'tools') => usableIn(see(offer, kind)).map(({ key }) => key)
  const again = (mode: PinMode = pin) => run(mode, memory, clock)
  return { watch, warnings, see, usable, again, memory, clock }
}

function live(offer: Offer, kind: Kind = 'tools'): KindCatalog {
  const items = Object.entries(offer).map(
    ([key, description]): Component => ({
      kind,
      key,
      bytes: Buffer.from(JSON.stringify({ name: key, description })),
    }),
  )
  return { state: 'live', fetchedAt: 0, items }
}

const held = ({ watch }: { watch: PinWatch }) =>
  watch.findings.held.map(({ key, because }) => `${key} ${because}`)
const changed = ({ watch }: { watch: PinWatch }) => watch.findings.changed.map(({ key }) => key)

describe('the first sight of a server', () => {
  for (const mode of ['warn', 'enforce'] as const) {
    verifies(['CAT-PIN-WARN', 'CAT-PIN-ENFORCE'], `pins all, with ${mode}`, () => {
      const world = run(mode)
      expect(world.usable({ read: 'Reads.', write: 'Writes.' })).toEqual(['read', 'write'])
      expect(world.watch.findings).toEqual({ changed: [], held: [], flagged: [] })
      expect(world.warnings).toEqual([])
      const next = world.again()
      expect(next.usable({ write: 'Writes.', read: 'Reads.' })).toEqual(['write', 'read'])
      expect(next.warnings).toEqual([])
    })
  }

  test('is not a list that could not be had', () => {
    const world = run('enforce')
    world.watch.admit('tools', { state: 'failed', reason: 'no answer', items: [] })
    world.watch.admit('tools', { state: 'unknown' })
    expect(world.usable({ read: 'Reads.' })).toEqual(['read'])
  })

  test('without prompts makes later ones new', () => {
    const world = run('enforce')
    world.watch.admit('prompts', { state: 'absent' })
    expect(world.usable({ ask: 'Asks.' }, 'prompts')).toEqual([])
    expect(world.usable({ ask: 'Reads.' }, 'resources')).toEqual(['ask'])
  })
})

describe('with warn', () => {
  verifies(
    ['CAT-PIN-WARN'],
    'a changed tool stays usable; it is told once, and shown until approved',
    async () => {
      const world = run('warn')
      world.see({ read: 'Reads a file.' })
      await world.clock.pass(500)
      const offer = { read: 'Reads a file and sends it.' }
      for (let n = 0; n < 3; n += 1) expect(world.usable(offer)).toEqual(['read'])
      expect(world.warnings).toEqual([
        'tool read is not described as it was: description: "Reads a file." → "Reads a file and sends it.". To accept it: holdfast approve a read',
      ])
      const finding = {
        kind: 'tools',
        key: 'read',
        changed: ['description'],
        diff: 'description: "Reads a file." → "Reads a file and sends it."',
        at: 500,
      }
      expect(world.watch.findings).toEqual({ changed: [finding], held: [], flagged: [] })
      await world.clock.pass(500)
      const next = world.again()
      expect(next.usable(offer)).toEqual(['read'])
      expect(next.watch.findings.changed).toEqual([finding])
      expect(next.warnings).toEqual([])
      next.watch.approve([])
      next.see(offer)
      expect(changed(next)).toEqual([])
      expect(changed(next.again())).toEqual([])
      expect(next.again().usable(offer)).toEqual(['read'])
    },
  )

  test('another change is told anew, and the way back is no change', () => {
    const world = run('warn')
    for (const text of ['one', 'two', 'three']) world.see({ read: text })
    expect(world.warnings).toHaveLength(2)
    world.see({ read: 'one' })
    expect(changed(world)).toEqual([])
    world.see({ read: 'two' })
    expect(world.warnings).toHaveLength(3)
  })

  test('a new tool is pinned as it comes, one that comes back as another is not', () => {
    const world = run('warn')
    world.see({ read: 'Reads.' })
    expect(world.usable({ read: 'Reads.', write: 'Writes.' })).toEqual(['read', 'write'])
    world.see({ read: 'Reads.' })
    expect(changed(world)).toEqual([])
    world.see({ read: 'Reads.', write: 'Writes more.' })
    expect(changed(world)).toEqual(['write'])
  })

  test('lost pins are made anew, and that is said', () => {
    const first = run('warn')
    first.see({ read: 'Reads.' })
    for (const id of first.memory.pinned.keys()) first.memory.pinned.set(id, 'lost')
    const next = first.again()
    expect(next.usable({ read: 'Sends.' })).toEqual(['read'])
    expect(next.warnings).toEqual(['its tools and prompts are pinned anew, as it describes them now'])
  })
})

describe('with enforce', () => {
  verifies(['CAT-PIN-ENFORCE'], 'what changed and what is new is held until approved, over restarts', () => {
    const world = run('enforce')
    world.see({ read: 'Reads.', write: 'Writes.' })
    const offer = { read: 'Sends.', write: 'Writes.', steal: 'Steals.' }
    expect(world.usable(offer)).toEqual(['write'])
    expect(held(world)).toEqual(['read changed', 'steal new'])
    expect(world.warnings).toEqual([
      expect.stringContaining('It is held until approved: holdfast approve a read'),
      'new tools are held until approved: steal. To approve: holdfast approve a',
    ])
    const next = world.again()
    expect(next.usable(offer)).toEqual(['write'])
    next.watch.approve(['a__read'])
    expect(next.usable(offer)).toEqual(['read', 'write'])
    expect(held(next)).toEqual(['steal new'])
    next.watch.approve(['steal'])
    expect(next.usable(offer)).toEqual(['read', 'write', 'steal'])
    expect(next.again().usable(offer)).toEqual(['read', 'write', 'steal'])
  })

  test('a name that is not offered cannot be approved, and nothing else is', () => {
    const world = run('enforce')
    world.see({ read: 'Reads.' })
    world.see({ read: 'Sends.' })
    expect(() => world.watch.approve(['read', 'raed'])).toThrow('a offers no tool or prompt named "raed".')
    expect(world.usable({ read: 'Sends.' })).toEqual([])
  })

  verifies(['CAT-PIN-ENFORCE'], 'lost pins hold everything, after another restart too', () => {
    const first = run('enforce')
    first.see({ read: 'Reads.' })
    for (const id of first.memory.pinned.keys()) first.memory.pinned.set(id, 'lost')
    const next = first.again()
    expect(next.warnings).toEqual([
      'its pins are lost, so all its tools and prompts are held. Look at them, then: holdfast approve a',
    ])
    expect(next.usable({ read: 'Sends.' })).toEqual([])
    const third = next.again()
    expect(third.usable({ read: 'Sends.' })).toEqual([])
    third.watch.approve([])
    expect(third.usable({ read: 'Sends.' })).toEqual(['read'])
  })

  test('what was only told of before is held', () => {
    const world = run('warn')
    world.see({ read: 'Reads.' })
    world.see({ read: 'Sends.' })
    const strict = world.again('enforce')
    expect(strict.usable({ read: 'Sends.' })).toEqual([])
    expect(strict.warnings).toEqual([])
  })

  test('a list of which nothing changed is the very same, held parts included', () => {
    const world = run('enforce')
    world.see({ read: 'Reads.' })
    const list = live({ read: 'Sends.', write: 'Writes.' })
    const first = world.watch.admit('tools', list)
    const again = world.watch.admit('tools', { ...list, state: 'stale' } as KindCatalog)
    expect(itemsIn(again)).toBe(itemsIn(first))
  })

  test('the second of two tools with one name is no way around it', () => {
    const world = run('enforce')
    world.see({ read: 'Reads.' })
    const twice = [...itemsIn(live({ read: 'Reads.' })), ...itemsIn(live({ read: 'Sends.' }))]
    const [first] = usableIn(world.watch.admit('tools', { state: 'live', fetchedAt: 0, items: twice }))
    expect(first?.bytes.toString()).toContain('Reads.')
    const turned = world.watch.admit('tools', { state: 'live', fetchedAt: 0, items: [...twice].reverse() })
    expect(usableIn(turned)).toEqual([])
    world.watch.approve([])
    expect(world.usable({ read: 'Sends.' })).toEqual(['read'])
    expect(world.usable({ read: 'Reads.' })).toEqual([])
  })

  test('whatever a server offers when, nothing is used that differs from what was last approved', () => {
    const offer: fc.Arbitrary<Offer> = fc.dictionary(
      fc.constantFrom('a', 'b', 'c'),
      fc.constantFrom('1', '2', '3'),
    )
    const step = fc.oneof(
      fc.record({ offer }),
      fc.record({ approve: fc.constantFrom('a', 'b', 'c') }),
      fc.constant({ restart: true }),
    )
    fc.assert(
      fc.property(offer, fc.array(step, { maxLength: 30 }), (first, steps) => {
        const approved = new Map(Object.entries(first))
        let world = run('enforce')
        let now = first
        world.see(first)
        for (const each of steps) {
          if ('offer' in each) now = each.offer
          else if ('restart' in each) world = world.again()
          else if (now[each.approve] !== undefined) {
            world.see(now)
            world.watch.approve([each.approve])
            approved.set(each.approve, now[each.approve] ?? '')
          }
          const expected = Object.keys(now).filter(key => approved.get(key) === now[key])
          expect(world.usable(now)).toEqual(expected)
        }
      }),
    )
  })
})

test('a name that is a trap in a shell is never part of the command that is told', () => {
  const world = run('warn')
  const offer = (text: string) => ({ 'x; rm -rf ~': text, '--url=http://evil': text, '$(id)': text })
  world.see(offer('one'))
  world.see(offer('two'))
  expect(world.warnings).toHaveLength(3)
  for (const warning of world.warnings)
    expect(warning).toMatch(/To accept it: holdfast approve a a__[A-Za-z0-9_.-]+$/)
})

describe('what is flagged', () => {
  verifies(
    ['CAT-INVISIBLE'],
    'is told once, with any mode and of any kind, and nothing is taken away',
    () => {
      const offer = { read: 'Reads.\u200B' }
      for (const mode of ['off', 'warn', 'enforce'] as const) {
        for (const kind of ['tools', 'prompts', 'resources', 'resourceTemplates'] as const) {
          const world = run(mode)
          const before = live(offer, kind)
          for (let n = 0; n < 2; n += 1) expect(world.watch.admit(kind, before)).toBe(before)
          expect(world.watch.findings.flagged).toEqual([
            { kind, key: 'read', detail: 'U+200B in description' },
          ])
          expect(world.warnings).toHaveLength(1)
          world.see({ read: 'Reads.' }, kind)
          expect(world.watch.findings.flagged).toEqual([])
        }
      }
    },
  )
})

test('with off nothing is pinned, told or held', () => {
  const world = run('off')
  for (const text of ['one', 'two']) expect(world.usable({ read: text })).toEqual(['read'])
  world.watch.approve(['whatever'])
  expect(world.memory.pinned.size).toBe(0)
  expect(world.watch.findings.changed).toEqual([])
})

test(`pins of what is not offered any more are bounded: the ${LIMITS.removedPins} newest stay`, () => {
  const world = run('warn')
  const batch = (at: number) =>
    Object.fromEntries(Array.from({ length: 1_500 }, (_, n) => [`t${at}-${n}`, 'x']))
  for (let at = 0; at < 4; at += 1) world.see(batch(at))
  const [saved] = [...world.memory.pinned.values()]
  const pins = saved === undefined || saved === 'lost' ? [] : saved.pins
  expect(pins.length).toBe(1_500 + LIMITS.removedPins)
  expect(pins.some(({ key }) => key === 't0-0')).toBe(false)
  expect(pins.some(({ key }) => key === 't2-0')).toBe(true)
})

describe('pins without a disk', () => {
  type Spec = { -readonly [Key in keyof UpstreamSpec]: UpstreamSpec[Key] }
  const watchOf = (part: Partial<UpstreamSpec>) => {
    const spec: Spec = { ...SPEC, ...part }
    const watch = new PinWatch(spec, { clock: virtualClock() }, () => undefined)
    const usable = (offer: Offer) => usableIn(watch.admit('tools', live(offer))).map(({ key }) => key)
    const turn = (mode: PinMode) => {
      spec.pin = mode
      watch.retune()
    }
    return { watch, usable, turn }
  }
  const program = (command: string, key: string): Partial<UpstreamSpec> => ({
    pin: 'enforce',
    transport: { kind: 'stdio', command, args: [], env: { KEY: key } },
  })

  test('outlast every change of the mode: nothing is approved by it, and nothing forgotten', () => {
    const { watch, usable, turn } = watchOf({ pin: 'warn' })
    usable({ read: 'Reads.', write: 'Writes.' })
    expect(usable({ read: 'Reads!', write: 'Writes!' })).toEqual(['read', 'write'])
    watch.approve(['write'])
    for (const mode of ['enforce', 'off', 'enforce'] as const) {
      turn(mode)
      const isFree = mode === 'off'
      expect(usable({ read: 'Reads!', write: 'Writes!' })).toEqual(isFree ? ['read', 'write'] : ['write'])
      expect(held({ watch })).toEqual(isFree ? [] : ['read changed'])
      expect(changed({ watch })).toEqual(isFree ? [] : ['read'])
    }
    turn('warn')
    expect(usable({ read: 'Reads!', write: 'Writes!' })).toEqual(['read', 'write'])
    expect(changed({ watch })).toEqual(['read'])
  })

  test('are those of the version before, as long as it is the same server', () => {
    const old = watchOf(program('x', '1'))
    old.usable({ read: 'Reads.' })
    const renewed = watchOf(program('x', '2'))
    renewed.watch.inherit(old.watch)
    expect(renewed.usable({ read: 'Reads!' })).toEqual([])
    renewed.watch.approve([])
    const again = watchOf(program('x', '3'))
    again.watch.inherit(renewed.watch)
    expect(again.usable({ read: 'Reads!' })).toEqual(['read'])
    const other = watchOf(program('y', '3'))
    other.watch.inherit(again.watch)
    expect(other.usable({ read: 'Reads?' })).toEqual(['read'])
  })
})
