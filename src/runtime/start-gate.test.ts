import { describe, expect, test } from 'vitest'
import { manualHost } from '../../test/kit/scripted-core.js'
import { LIMITS, type UpstreamSpec } from '../model/index.js'
import type { Connection, ConnectionEvents, Host } from './ports.js'
import { START_TURN_MS, StartGate } from './start-gate.js'

const NO_EVENTS = {} as ConnectionEvents
const NONE = Buffer.from('{}')

/** Servers that begin a start when they may, and end it when the test says so. */
function setUp(options: { leftovers?: Promise<void> } = {}) {
  const time = manualHost()
  const begun: string[] = []
  const full: string[] = []
  const ends = new Map<string, { up(): void; down(): void }>()
  let ended = () => {}
  let living = 0
  const spawner = {
    ...time.host.spawner,
    get living() {
      return living
    },
    onEnded: (listener: () => void) => {
      ended = listener
      return () => undefined
    },
  }
  const { leftovers } = options
  const host: Host = { ...time.host, spawner, ...(leftovers ? { endLeftovers: () => leftovers } : {}) }
  const gate = new StartGate({ host, full: upstream => full.push(upstream) })
  const connectors = gate.guard(({ name }) => ({
    open: () => {
      begun.push(name)
      living += 1
      return new Promise<Connection>((resolve, reject) => {
        ends.set(name, {
          up: () => resolve({} as Connection),
          down: () => {
            living -= 1
            reject(new Error('it died'))
            ended()
          },
        })
      })
    },
  }))
  const open = (name: string, kind = 'stdio', signal = new AbortController().signal) => {
    const opening = connectors({ name, transport: { kind } } as UpstreamSpec).open(NO_EVENTS, signal, NONE)
    opening.catch(() => undefined)
    return opening
  }
  const openMany = (count: number) => Array.from({ length: count }, (_, at) => open(`s${at + 1}`))
  const turn = () => new Promise(resolve => setImmediate(resolve))
  return { time, begun, full, ends, open, openMany, turn }
}

describe('the start of child processes', () => {
  test(`lets ${LIMITS.startingChildren} begin at a time, the others in the order of asking`, async () => {
    const { begun, ends, openMany, turn } = setUp()
    void openMany(LIMITS.startingChildren + 3)
    await turn()
    expect(begun).toHaveLength(LIMITS.startingChildren)
    ends.get('s3')?.up()
    ends.get('s5')?.down()
    await turn()
    expect(begun.slice(LIMITS.startingChildren)).toEqual(['s9', 's10'])
  })

  test('is not held up by servers that hang in theirs', async () => {
    const { time, begun, openMany, open, turn } = setUp()
    void openMany(LIMITS.startingChildren)
    void open('good')
    await turn()
    expect(begun).not.toContain('good')
    time.advance(START_TURN_MS)
    await turn()
    expect(begun).toContain('good')
  })

  test(`goes up to ${LIMITS.children} in all; who waits for that is named once, and comes when another has ended`, async () => {
    const { begun, full, ends, openMany, turn } = setUp()
    void openMany(LIMITS.children + 2)
    for (let at = 1; at <= LIMITS.children; at++) {
      await turn()
      ends.get(`s${at}`)?.up()
    }
    await turn()
    expect(begun).toHaveLength(LIMITS.children)
    expect(full).toEqual([`s${LIMITS.children + 1}`, `s${LIMITS.children + 2}`])
    const again = setUp()
    void again.openMany(LIMITS.children + 1)
    for (let at = 1; at < LIMITS.children; at++) {
      await again.turn()
      again.ends.get(`s${at}`)?.up()
    }
    await again.turn()
    expect(again.begun).toHaveLength(LIMITS.children)
    again.ends.get(`s${LIMITS.children}`)?.down()
    await again.turn()
    expect(again.begun.at(-1)).toBe(`s${LIMITS.children + 1}`)
    expect(again.full).toEqual([`s${LIMITS.children + 1}`])
  })

  test('does not begin for who no longer wants it, queued or not', async () => {
    const { begun, ends, open, openMany, turn } = setUp()
    void openMany(LIMITS.startingChildren)
    const control = new AbortController()
    const opening = open('unwanted', 'stdio', control.signal)
    void open('wanted')
    await turn()
    control.abort(new Error('stopped'))
    await expect(opening).rejects.toThrow('stopped')
    await expect(open('late', 'stdio', AbortSignal.abort(new Error('over')))).rejects.toThrow('over')
    ends.get('s1')?.up()
    await turn()
    expect(begun.slice(LIMITS.startingChildren)).toEqual(['wanted'])
  })

  test('waits until what an earlier gateway left behind is gone; servers over HTTP do not', async () => {
    let gone = () => {}
    const { begun, open, turn } = setUp({
      leftovers: new Promise<void>(resolve => {
        gone = resolve
      }),
    })
    void open('child')
    void open('remote', 'http')
    await turn()
    expect(begun).toEqual(['remote'])
    gone()
    await turn()
    expect(begun).toEqual(['remote', 'child'])
  })
})
