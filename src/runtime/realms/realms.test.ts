import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  instances,
  nameOf,
  type Opened,
  ownTool,
  program,
  settle,
  spec,
  toolList,
  USERS,
} from '../../../test/kit/own-instances.js'
import { lost } from '../../../test/kit/runtime-world.js'
import { verifies } from '../../../test/kit/verifies.js'
import { EMPTY_CATALOG, LIMITS, type Outcome } from '../../model/index.js'
import type { UpstreamRequest } from '../ports.js'

describe('a server with an instance for each identity', () => {
  verifies(
    ['E60'],
    'offers each identity its own names, serves those within their time, and refuses another one’s',
    async () => {
      const { list, call, opened } = instances()
      expect(await list('ann')).toEqual(['a__ann'])
      expect(await list('bob')).toEqual(['a__bob'])
      expect(await call('a__bob', 'bob')).toBe('for bob')
      expect(await call('a__ann', 'bob')).toBe('NOT_FOUND')
      expect(await call('a__ann', 'ann')).toBe('for ann')
      expect(opened.map(({ user }) => user)).toEqual(['ann', 'bob'])
    },
  )

  test('is found by a call that comes before any list', async () => {
    const { call, opened } = instances()
    expect(await call('a__ann', 'ann')).toBe('for ann')
    expect(opened).toHaveLength(1)
  })

  test('tells nobody what it said to another in its handshake, and has pages of its own', async () => {
    const answer = (request: UpstreamRequest, opened: Opened) =>
      ownTool(request, opened).replace('{', '{"cacheScope":"public",')
    const { runtime, list, as } = instances({ answer })
    await list('ann')
    const all = { kind: 'all' } as const
    expect(runtime.offer(all, as('ann')).instructions).toContain('for ann')
    expect(runtime.offer(all, as('bob')).instructions).not.toContain('ann')
    expect(runtime.offer(all, as('local')).instructions).not.toContain('ann')
    expect(runtime.headerParams(all, 'a__ann', as('bob'))).toEqual([])
    const page = await runtime.list('tools', all, null, as('ann'))
    expect(page.cacheScope).toBe('private')
    expect(runtime.snapshotFor(as('bob')).upstreams.get('a')?.catalog).toBe(EMPTY_CATALOG)
  })

  verifies(['E61', 'E63'], 'is reached with credentials that stay where they belong', async () => {
    let token = 'first-secret'
    const { runtime, list, opened, told, clock } = instances({
      credentials: () => ({ Authorization: `Bearer ${token}` }),
      answer: request => (request.method === 'tools/list' ? toolList('t') : '{}'),
      specs: [
        spec('a', { transport: { kind: 'http', url: 'http://h/', headers: { authorization: 'x', k: 'v' } } }),
      ],
    })
    expect(await list('ann')).toEqual(['a__t'])
    const [first] = opened
    expect(first?.headers).toEqual({ Authorization: 'Bearer first-secret', k: 'v' })
    token = 'second-secret'
    const lists = () => opened.flatMap(({ asked }) => asked).filter(({ method }) => method === 'tools/list')
    first?.events.closed(lost('the line broke'))
    await clock.pass(0)
    // The renewed token is used from the next start on, and what was listed never went away.
    expect(await list('ann')).toEqual(['a__t'])
    expect(opened.map(({ headers }) => headers['Authorization'])).toEqual([
      'Bearer first-secret',
      'Bearer second-secret',
    ])
    const before = lists().length
    await runtime.forget('ann')
    await clock.pass(0)
    expect(opened.map(({ ended }) => ended)).toEqual([true, true, false])
    expect(lists().length).toBe(before + 1)
    const seen = JSON.stringify([
      runtime.snapshotFor({ principal: 'ann' }),
      runtime.snapshot,
      runtime.instances('a'),
      told,
    ])
    expect(seen).not.toContain('secret')
  })

  verifies(['E63'], 'tells a call that waits for it when its credentials changed', async () => {
    const { runtime, list, begin, clock, behaviour, opened } = instances()
    await list('ann')
    await clock.pass(660_000)
    behaviour.opening = () => new Promise(() => undefined)
    const { outcome } = begin('a__ann', 'ann')
    await clock.pass(0)
    behaviour.opening = () => null
    const forgotten = runtime.forget('ann')
    await clock.pass(0)
    expect(await outcome).toMatchObject({
      kind: 'never-sent',
      error: { message: expect.stringContaining('the instance for this client was ended') },
    })
    expect(opened).toHaveLength(2)
    expect(await list('ann')).toEqual(['a__ann'])
    void forgotten
  })

  verifies(['F172'], '20 first uses at once begin one connection for each identity', async () => {
    const { begin, list, opened, clock, behaviour } = instances()
    let open = (): void => undefined
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    behaviour.opening = () => gate
    const calls = ['ann', 'bob'].flatMap(user => Array.from({ length: 20 }, () => begin(`a__${user}`, user)))
    const lists = [list('ann'), list('bob')]
    await clock.pass(0)
    open()
    await clock.pass(0)
    const outcomes = await Promise.all(calls.map(({ outcome }) => outcome))
    expect(outcomes.every(({ kind }) => kind === 'answered')).toBe(true)
    expect(await Promise.all(lists)).toEqual([['a__ann'], ['a__bob']])
    expect(opened).toHaveLength(2)
  })

  verifies(
    ['F172'],
    'a failed start is told to all who waited, and tried again after its pause',
    async () => {
      const { begin, call, clock, behaviour, opened } = instances()
      let tries = 0
      behaviour.opening = async () => {
        tries += 1
        throw new Error('no room')
      }
      const calls = Array.from({ length: 20 }, () => begin('a__ann', 'ann'))
      await clock.pass(LIMITS.resolveMs)
      const outcomes = await Promise.all(calls.map(({ outcome }) => outcome))
      for (const outcome of outcomes) {
        expect(outcome).toMatchObject({ kind: 'never-sent', error: { code: 'UPSTREAM_UNAVAILABLE' } })
        expect('error' in outcome && outcome.error.message).toContain('no room')
      }
      expect(tries).toBeLessThan(6)
      behaviour.opening = () => null
      await clock.pass(60_000)
      expect(await call('a__ann', 'ann')).toBe('for ann')
      expect(opened).toHaveLength(1)
    },
  )

  verifies(['F173'], 'a caller who leaves while it connects leaves nothing half open', async () => {
    const session = {}
    const specs = [spec('a', { isolation: 'session' })]
    const { runtime, begin, list, opened, clock, behaviour, as } = instances({ specs })
    let open = (): void => undefined
    behaviour.opening = () =>
      new Promise<void>(resolve => {
        open = resolve
      })
    const first = begin('a__ann', 'ann', session)
    await clock.pass(0)
    first.cancel()
    runtime.endSession(session)
    open()
    await clock.pass(0)
    expect(opened.filter(({ ended }) => !ended)).toEqual([])
    expect(runtime.instances('a')?.total).toBe(0)
    // The session is over: nothing is begun for it any more.
    runtime.snapshotFor(as('ann', session))
    behaviour.opening = () => null
    expect(await list('ann', {})).toEqual(['a__ann'])
    expect(opened).toHaveLength(1)
  })

  verifies(['F173'], 'the next caller of the same identity gets the connection', async () => {
    const { begin, call, opened, clock, behaviour } = instances()
    let open = (): void => undefined
    behaviour.opening = () =>
      new Promise<void>(resolve => {
        open = resolve
      })
    const first = begin('a__ann', 'ann')
    await clock.pass(0)
    first.cancel()
    const second = call('a__ann', 'ann')
    await clock.pass(0)
    open()
    expect(await second).toBe('for ann')
    expect(opened).toHaveLength(1)
  })

  verifies(['E68'], 'does not wait for the slow list of another identity', async () => {
    const answer = (request: UpstreamRequest, opened: Opened) =>
      opened.user === 'ann' && request.method === 'tools/list' ? null : ownTool(request, opened)
    const { runtime, list, as, clock } = instances({ answer })
    const slow = runtime.list('tools', { kind: 'all' }, null, as('ann'))
    expect(await list('bob')).toEqual(['a__bob'])
    let answered = false
    void slow.then(() => {
      answered = true
    })
    await clock.pass(LIMITS.instanceListMs - 1)
    expect(answered).toBe(false)
    await clock.pass(1)
    expect((await slow).unavailable).toMatchObject([{ upstream: 'a' }])
  })

  test('lists the shared ones at once and names it where it does not come up in time', async () => {
    const specs = [spec('a'), spec('all', { isolation: 'shared' })]
    const { runtime, as, behaviour, clock, list } = instances({ specs })
    runtime.boot()
    await clock.pass(1_000)
    behaviour.opening = upstream => (upstream === 'a' ? new Promise(() => undefined) : null)
    const page = runtime.list('tools', { kind: 'all' }, null, as('ann'))
    await clock.pass(LIMITS.instanceListMs)
    expect(nameOf(await page)).toEqual(['all__nobody'])
    expect((await page).unavailable).toMatchObject([{ upstream: 'a', reason: 'still starting' }])
    // The wait is for the first moments alone.
    expect(await list('ann')).toEqual(['all__nobody'])
  })
})

describe('an own instance', () => {
  verifies(['E62'], 'is not made where all share one: a private list is everybody’s there', async () => {
    const answer = ({ method }: UpstreamRequest) =>
      method === 'tools/list' ? '{"tools":[{"name":"t"}],"cacheScope":"private","ttlMs":60000}' : '{}'
    const specs = [spec('a', { isolation: 'shared' })]
    const { runtime, list, opened, clock } = instances({ specs, answer })
    runtime.boot()
    await clock.pass(0)
    expect([await list('ann'), await list('bob', {}), await list('local')]).toEqual([
      ['a__t'],
      ['a__t'],
      ['a__t'],
    ])
    expect(opened).toHaveLength(1)
    expect(opened[0]?.asked.filter(({ method }) => method === 'tools/list')).toHaveLength(1)
    expect(runtime.instances('a')).toBeNull()
  })

  verifies(['E64'], 'of a session has lists and a connection of its own, and ends with it', async () => {
    const specs = [program('a', { isolation: 'session' })]
    const answer = ({ method }: UpstreamRequest, { asked }: Opened) =>
      method === 'tools/list'
        ? toolList('t')
        : JSON.stringify({
            content: [{ type: 'text', text: `call ${asked.filter(r => r.method === 'tools/call').length}` }],
          })
    const { runtime, list, call, opened, clock } = instances({ specs, answer })
    const [one, two] = [{}, {}]
    expect([await list('local', one), await list('local', two)]).toEqual([['a__t'], ['a__t']])
    expect(await call('a__t', 'local', one)).toBe('call 1')
    expect(await call('a__t', 'local', one)).toBe('call 2')
    expect(await call('a__t', 'local', two)).toBe('call 1')
    expect(runtime.instances('a')).toMatchObject({ total: 2, unhealthy: 0 })
    runtime.endSession(one)
    await clock.pass(0)
    expect(opened.map(({ ended }) => ended)).toEqual([true, false])
    expect(runtime.instances('a')).toMatchObject({ total: 1 })
    runtime.endSession(two)
    await clock.pass(0)
    expect(clock.armed).toBe(0)
    // Whoever still speaks for a session that is over gets no instance that nobody would ever end.
    await list('local', one)
    expect(runtime.instances('a')).toMatchObject({ total: 0 })
    await runtime.stop()
  })

  test('is left by an identity that asks without a session: it has the one of its identity', async () => {
    const { list, opened } = instances({ specs: [spec('a', { isolation: 'session' })] })
    await list('ann', {})
    await list('ann')
    await list('ann')
    expect(opened.map(({ user }) => user)).toEqual(['ann', 'ann'])
  })

  test('sleeps when nobody used it for long, and what it offers stays listed', async () => {
    const { list, call, opened, clock, runtime } = instances()
    expect(await list('ann')).toEqual(['a__ann'])
    await clock.pass(660_000)
    expect(opened[0]?.ended).toBe(true)
    expect(await list('ann')).toEqual(['a__ann'])
    expect(opened).toHaveLength(1)
    expect(await call('a__ann', 'ann')).toBe('for ann')
    expect(opened).toHaveLength(2)
    expect(runtime.instances('a')?.total).toBe(1)
  })

  test('is told of by list changes to its own identity alone', async () => {
    let names = ['t']
    const answer = ({ method }: UpstreamRequest) => (method === 'tools/list' ? toolList(...names) : '{}')
    const { runtime, list, opened, clock, as } = instances({ answer })
    await list('ann')
    await list('bob')
    await clock.pass(1_000)
    const told: string[] = []
    const all = { kind: 'all' } as const
    const leave = ['ann', 'bob', 'local'].map(user =>
      runtime.onListChanged(all, kind => told.push(`${user} ${kind}`), as(user)),
    )
    names = ['t', 'u']
    opened[0]?.events.notification('notifications/tools/list_changed', null)
    await clock.pass(10_000)
    expect(told).toEqual(['ann tools'])
    expect([await list('ann'), await list('bob')]).toEqual([['a__t', 'a__u'], ['a__t']])
    for (const stop of leave) stop()
  })

  verifies(
    ['E65'],
    'tells of its resources to its own identity alone, also after it was made anew',
    async () => {
      const { runtime, list, opened, clock, as } = instances()
      const all = { kind: 'all' } as const
      const told: string[] = []
      const follow = (user: string, uri: string) => {
        const answers: (string | null)[] = []
        const settled = (refusal: Outcome | null) =>
          answers.push(refusal && 'error' in refusal ? refusal.error.code : null)
        const events = { settled, updated: () => void told.push(user) }
        return { answers, ...runtime.subscribe(all, uri, as(user), events) }
      }
      for (const user of ['ann', 'bob']) await list(user)
      const [first] = runtime.snapshotFor(as('ann')).catalog.listed.resources
      const own = follow('ann', first?.key ?? '')
      const foreign = follow('bob', first?.key ?? '')
      await clock.pass(0)
      expect(own.answers).toEqual([null])
      // Any URI may be one of bob's own server; it is asked, and ann's is not.
      expect(opened.map(({ user, followed }) => [user, followed.has('note:///ann')])).toEqual([
        ['ann', true],
        ['bob', foreign.answers[0] === null],
      ])
      const changed = Buffer.from('{"uri":"note:///ann"}')
      opened[0]?.events.notification('notifications/resources/updated', changed)
      await clock.pass(1_000)
      expect(told).toEqual(['ann'])
      await runtime.forget('ann')
      await clock.pass(1_000)
      // What happened in between nobody heard.
      expect(told).toEqual(['ann', 'ann'])
      expect(opened.at(-1)?.followed).toEqual(new Set(['note:///ann']))
      // Whoever is followed does not make room, and does not sleep.
      for (let user = 0; user < LIMITS.instances; user++) await list(`u${user}`)
      expect(opened.filter(({ user, ended }) => user === 'ann' && !ended)).toHaveLength(1)
      await clock.pass(700_000)
      expect(opened.filter(({ ended }) => !ended).map(({ user }) => user)).toContain('ann')
      own.end()
      foreign.end()
      await clock.pass(700_000)
      expect(opened.filter(({ ended }) => !ended)).toEqual([])
      await runtime.stop()
    },
  )

  test('obeys what a person says of its server', async () => {
    const { runtime, list, call, opened, clock } = instances()
    await list('ann')
    await list('bob')
    const actions = runtime.actions('a')
    await actions?.restart()
    await clock.pass(0)
    expect(opened.map(({ user, ended }) => [user, ended])).toEqual([
      ['ann', true],
      ['bob', true],
      ['ann', false],
      ['bob', false],
    ])
    await actions?.disable()
    expect(opened.every(({ ended }) => ended)).toBe(true)
    expect(await list('ann')).toEqual([])
    expect(await list('eve')).toEqual([])
    expect(await call('a__ann', 'ann')).toBe('NOT_FOUND')
    const before = opened.length
    const context = { principal: 'eve', scope: { kind: 'server', name: 'a' }, era: 'legacy' } as const
    runtime.call(
      { method: 'x/y', params: null, context: { ...context, capabilities: Buffer.from('{}') } },
      () => undefined,
    )
    await clock.pass(0)
    expect(opened).toHaveLength(before)
    actions?.enable()
    await clock.pass(0)
    expect([await list('ann'), await list('eve')]).toEqual([['a__ann'], ['a__eve']])
    await actions?.refresh()
  })

  test('that fails is counted, with its reason, and does not touch the others', async () => {
    const { runtime, list, call, clock, behaviour } = instances()
    behaviour.opening = (_, user) => (user === 'ann' ? Promise.reject(new Error('bad door')) : null)
    const page = list('ann')
    await clock.pass(5_000)
    expect(await page).toEqual([])
    expect(await call('a__bob', 'bob')).toBe('for bob')
    expect(runtime.instances('a')).toMatchObject({ total: 2, unhealthy: 1, reason: 'bad door' })
    expect(runtime.snapshot.upstreams.get('a')?.health).not.toBe('unhealthy')
  })

  test('and every other one ends when the gateway does, gently or at once', async () => {
    for (const how of ['stop', 'kill'] as const) {
      const { runtime, list, opened, clock } = instances({
        specs: [spec('a'), program('b', { isolation: 'session' })],
      })
      await list('ann', {})
      await list('bob')
      expect(opened).toHaveLength(4)
      expect(await runtime[how]()).toEqual(how === 'stop' ? [] : undefined)
      await clock.pass(0)
      expect(opened.every(({ ended }) => ended)).toBe(true)
      expect(await list('eve')).toEqual([])
      expect(opened).toHaveLength(4)
      await clock.pass(60_000)
      expect(clock.armed).toBe(0)
    }
  })
})

describe('the bound on instances', () => {
  verifies(['D57'], 'lets the one go that was unused for longest', async () => {
    const { runtime, list, call, opened, clock } = instances()
    for (let user = 0; user < LIMITS.instances; user++) {
      await clock.pass(1)
      expect(await list(`u${user}`)).toEqual([`a__u${user}`])
    }
    expect(runtime.instances('a')?.total).toBe(LIMITS.instances)
    await call('a__u0', 'u0')
    expect(await list('late')).toEqual(['a__late'])
    expect(runtime.instances('a')?.total).toBe(LIMITS.instances)
    expect(opened.filter(({ ended }) => ended).map(({ user }) => user)).toEqual(['u1'])
    expect(await list('u1')).toEqual(['a__u1'])
    expect(opened.filter(({ ended }) => ended).map(({ user }) => user)).toEqual(['u1', 'u2'])
  })

  verifies(['D57'], 'never ends one with a call under way: who comes then is refused in time', async () => {
    const answer = (request: UpstreamRequest, opened: Opened) =>
      request.method === 'tools/call' ? null : ownTool(request, opened)
    const { runtime, list, begin, call, opened, clock } = instances({
      answer,
      specs: [program('a'), spec('all', { isolation: 'shared' })],
      credentials: USERS,
    })
    runtime.boot()
    await clock.pass(1_000)
    const calls: Promise<Outcome>[] = []
    for (let user = 0; user < LIMITS.instanceChildren; user++) {
      expect(await list(`u${user}`)).toContain('a__nobody')
      calls.push(begin('a__nobody', `u${user}`).outcome)
    }
    await clock.pass(0)
    expect(await call('a__nobody', 'late')).toBe('OVERLOADED')
    const page = await runtime.list('tools', { kind: 'all' }, null, { principal: 'late' })
    expect(nameOf(page)).toEqual(['all__nobody'])
    expect(page.unavailable).toMatchObject([{ upstream: 'a', reason: expect.stringContaining('in use') }])
    expect(opened.filter(({ ended }) => ended)).toEqual([])
    const [first] = opened.filter(({ upstream }) => upstream === 'a')
    for (const request of first?.asked ?? []) if (request.context) settle(request, '{"content":[]}')
    await clock.pass(0)
    expect(await list('late')).toContain('a__nobody')
    expect(first?.ended).toBe(true)
    await runtime.stop()
    await Promise.all(calls)
  })

  verifies(['D57'], 'never ends one that is still starting', async () => {
    const { runtime, list, opened, clock, behaviour, as } = instances()
    let open = (): void => undefined
    const gate = new Promise<void>(resolve => {
      open = resolve
    })
    behaviour.opening = (_, user) => (user === 'first' ? gate : null)
    const first = runtime.list('tools', { kind: 'all' }, null, as('first'))
    for (let user = 0; user < LIMITS.instances; user++) {
      await clock.pass(1)
      await list(`u${user}`)
    }
    open()
    await clock.pass(0)
    expect(nameOf(await first)).toEqual(['a__first'])
    expect(opened.filter(({ ended }) => ended).map(({ user }) => user)).toEqual(['u0'])
  })

  test('tells a client that listens nothing: it would ask for the place again', async () => {
    const { runtime, list, call, opened, clock, as } = instances()
    const told: string[] = []
    await list('ann')
    runtime.onListChanged({ kind: 'all' }, kind => told.push(kind), as('ann'))
    for (let user = 0; user < LIMITS.instances; user++) {
      await clock.pass(1)
      await list(`u${user}`)
    }
    await clock.pass(10_000)
    expect([opened[0]?.ended, told]).toEqual([true, []])
    expect(await list('ann')).toEqual(['a__ann'])
    expect(opened).toHaveLength(LIMITS.instances + 1)
    expect(await call('a__ann', 'ann')).toBe('for ann')
    expect(opened).toHaveLength(LIMITS.instances + 2)
  })
})

describe('two identities', () => {
  verifies(['E65'], 'see their own lists, reads and news in every order of events', async () => {
    const USERS_OF = ['ann', 'bob'] as const
    const order = fc.array(
      fc.record({
        user: fc.constantFrom(...USERS_OF),
        act: fc.constantFrom('list', 'call', 'answer', 'news'),
      }),
      { minLength: 4, maxLength: 40 },
    )
    await fc.assert(
      fc.asyncProperty(order, async steps => {
        const waiting: { user: string; request: UpstreamRequest; version: number }[] = []
        const versions: Record<string, number> = { ann: 0, bob: 0 }
        const heard: string[] = []
        const answer = (request: UpstreamRequest, opened: Opened) => {
          if (request.method !== 'tools/list') return ownTool(request, opened)
          waiting.push({ user: opened.user, request, version: versions[opened.user] ?? 0 })
          return null
        }
        const { runtime, opened, clock, as, begin } = instances({ answer })
        const all = { kind: 'all' } as const
        for (const user of USERS_OF) {
          runtime.onListChanged(all, kind => kind === 'tools' && heard.push(user), as(user))
        }
        const own = (user: string, names: readonly string[]) =>
          expect(names.filter(name => !name.startsWith(`a__${user}`))).toEqual([])
        const pages: Promise<unknown>[] = []
        const answered = new Set<string>()
        for (const { user, act } of steps) {
          if (act === 'list') {
            const page = runtime.list('tools', all, null, as(user))
            pages.push(page.then(found => own(user, nameOf(found))))
          } else if (act === 'call') {
            const other = user === 'ann' ? 'bob' : 'ann'
            const { outcome } = begin(`a__${other}0`, user)
            pages.push(outcome.then(found => expect(found.kind).toBe('never-sent')))
          } else if (act === 'news') {
            versions[user] = (versions[user] ?? 0) + 1
            const now = opened.findLast(made => made.user === user)
            now?.events.notification('notifications/tools/list_changed', null)
          } else {
            const index = waiting.findIndex(one => one.user === user)
            const [one] = index < 0 ? [] : waiting.splice(index, 1)
            if (one) {
              settle(one.request, toolList(`${user}${one.version}`))
              answered.add(user)
            }
          }
          await clock.pass(1)
          for (const each of USERS_OF) {
            const { listed } = runtime.snapshotFor(as(each)).catalog
            own(
              each,
              listed.tools.map(({ key }) => key),
            )
          }
          expect(runtime.snapshot.catalog.listed.tools).toEqual([])
        }
        await clock.pass(60_000)
        await Promise.all(pages)
        // News reach only those whose own list there is.
        expect(heard.filter(user => !answered.has(user))).toEqual([])
        await runtime.stop()
      }),
      { numRuns: 60 },
    )
  })
})
