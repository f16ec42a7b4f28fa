import fc from 'fast-check'
import type { Entry } from '../../../src/core/reload/index.js'
import type { UpstreamSpec } from '../../../src/model/index.js'
import { SPEC } from '../../kit/runtime-world.js'
import { httpOf, stdioOf, type Version } from './versions.js'

/** A start that hangs ends within this time. */
export const START_MS = 3_000

type Start = Version['start']

const NAMES = ['a', 'b', 'c', 'd'] as const
const TIMEOUTS = {
  connect: 1_000,
  start: START_MS,
  request: 5_000,
  total: 10_000,
  list: 2_000,
  listTotal: 4_000,
}

/** Nobody waits for the start of one that is lazy or has instances of its own, so that late ones are neither. */
const PATIENT: Partial<UpstreamSpec> = {
  timeouts: { ...TIMEOUTS, start: 20_000 },
  isolation: 'shared',
  lazy: false,
}

/** Several servers offer the same names, so that the order of the config decides. */
const versionOf = (name: string, starts: readonly Start[]): fc.Arbitrary<Version> =>
  fc.record({
    name: fc.constant(name),
    mark: fc.constantFrom('v1', 'v2'),
    start: often<Start>('well', ...starts),
    tools: fc.constantFrom(['echo', name], ['echo', 'more', name], ['more'], []),
    resources: fc.constantFrom(['doc'], ['doc', name], []),
    prompts: fc.constantFrom(['greet'], []),
  })

const transportOf = (version: Version): fc.Arbitrary<UpstreamSpec['transport']> =>
  fc.oneof(
    { weight: 3, arbitrary: often('', '1').map(key => stdioOf(version, key === '' ? {} : { KEY: key })) },
    { weight: 1, arbitrary: fc.constantFrom('http', 'auto').map(kind => httpOf(version, kind)) },
  )

/** The first value is by far the most frequent one. */
function often<T>(first: T, ...others: readonly T[]): fc.Arbitrary<T> {
  return fc.oneof(
    { weight: 4, arbitrary: fc.constant(first) },
    { weight: 1, arbitrary: fc.constantFrom(first, ...others) },
  )
}

/** What can change while a server runs. */
const optionsOf = (name: string): fc.Arbitrary<Partial<UpstreamSpec>> =>
  fc
    .record({
      prefix: often(name, 'shared', ''),
      enabled: often(true, false),
      lazy: often(false, true),
      cacheTtlMs: often(300_000, 0, 5_000),
      unavailable: often('keep', 'hide'),
      pin: often('warn', 'off'),
      tools: often({}, { allow: ['e*'] }, { deny: ['more'] }, { allow: ['*'] }),
      resources: often({}, { deny: ['mem://doc'] }),
      timeouts: often(TIMEOUTS, { ...TIMEOUTS, request: 4_000 }),
      cacheResults: often([], [{ pattern: 'echo', ttlMs: 60_000 }]),
      supervision: often(
        SPEC.supervision,
        { ...SPEC.supervision, maxInFlight: 1 },
        { ...SPEC.supervision, health: { ...SPEC.supervision.health, intervalMs: 5_000 } },
        { ...SPEC.supervision, trusted: true, idempotent: ['echo'] },
      ),
      exclusive: often(undefined, true),
      onUpdateFailure: often(undefined, 'replace', 'keep'),
    })
    .map(({ exclusive, onUpdateFailure, ...rest }) => ({
      ...rest,
      ...(exclusive === undefined ? {} : { exclusive }),
      ...(onUpdateFailure === undefined ? {} : { onUpdateFailure }),
    })) as fc.Arbitrary<Partial<UpstreamSpec>>

const specOf = (name: string, starts: readonly Start[]): fc.Arbitrary<Entry> =>
  fc
    .record({
      transport: versionOf(name, starts).chain(transportOf),
      options: optionsOf(name),
      era: often('legacy', 'auto'),
      isolation: often('shared', 'principal', 'session'),
    })
    .map(({ transport, options, era, isolation }) => ({
      ...SPEC,
      ...options,
      name,
      transport,
      era,
      isolation,
      ...(starts.includes('late') ? PATIENT : {}),
    })) as fc.Arbitrary<Entry>

const wrongOf = (name: string): fc.Arbitrary<Entry> =>
  fc.constantFrom('no command', 'no url').map(problem => ({ name, prefix: name, problem }))

const entryOf = (name: string, starts: readonly Start[]): fc.Arbitrary<Entry> =>
  fc.oneof({ weight: 9, arbitrary: specOf(name, starts) }, { weight: 1, arbitrary: wrongOf(name) })

export interface Step {
  readonly entries: readonly Entry[]
  /** How long it runs before what comes next. */
  readonly thenMs: number
  /** Somebody uses whatever is listed meanwhile. */
  readonly isUsed: boolean
}

/**
 * Short histories of configs. A server keeps its entry from one to the next, takes over the options or the transport of
 * another of its entries, or changes as a whole; which there are, and in what order, is drawn anew each time.
 */
export const historyWith = (...starts: readonly Start[]): fc.Arbitrary<readonly Step[]> =>
  fc
    .tuple(...NAMES.map(name => fc.array(entryOf(name, starts), { minLength: 3, maxLength: 3 })))
    .chain(pools =>
      fc
        .array(
          fc.record({
            order: fc.shuffledSubarray(NAMES.map((_, index) => index)),
            isSorted: fc.boolean(),
            picks: fc.tuple(...NAMES.map(() => fc.tuple(often(0, 1, 2), often(0, 1, 2)))),
            thenMs: fc.constantFrom(40_000, 0, 60, 2_000, 40_000),
            isUsed: fc.boolean(),
          }),
          { minLength: 2, maxLength: 4 },
        )
        .map(steps =>
          steps.map(({ order, isSorted, picks, thenMs, isUsed }) => ({
            entries: (isSorted ? [...order].sort() : order).map(index => {
              const pool = pools[index] as readonly Entry[]
              const [what, how] = picks[index] as readonly [number, number]
              return mixed(pool[what] as Entry, pool[how] as Entry)
            }),
            thenMs,
            isUsed,
          })),
        ),
    )

/** The one, with the options of the other. */
function mixed(what: Entry, how: Entry): Entry {
  if ('problem' in what || 'problem' in how) return what
  const { transport, era, isolation } = what
  return { ...how, transport, era, isolation }
}
