import { expect, test } from 'vitest'
import { GatewayError, type UpstreamSpec } from '../model/index.js'
import type { Connection, Connector, Host } from './ports.js'
import { Store } from './store.js'
import { Supervisor } from './supervisor.js'

const TIMEOUTS = { connect: 1, start: 1, request: 1, total: 1, list: 1, listTotal: 1 }
const SPEC: UpstreamSpec = {
  name: 'a',
  transport: { kind: 'http', url: 'http://127.0.0.1:1/', headers: {} },
  prefix: 'a',
  enabled: true,
  lazy: false,
  era: 'auto',
  timeouts: TIMEOUTS,
  unavailable: 'keep',
  tools: {},
  resources: {},
  prompts: {},
}

function connection(inFlight: number) {
  const state = { inFlight, destroyed: 0 }
  const fake = {
    transport: 'http',
    era: 'legacy',
    protocolVersion: 'x',
    serverInfo: null,
    capabilities: {},
    instructions: null,
    pid: null,
    get inFlight() {
      return state.inFlight
    },
    request: () => ({ cancel: () => undefined }),
    close: () => Promise.resolve(),
    destroy: () => {
      state.destroyed += 1
    },
  } as unknown as Connection
  return { fake, state }
}

test('a server that a later call cannot reach still finishes the calls that are under way', async () => {
  const timers: (() => void)[] = []
  const clock = {
    now: () => 0,
    wallTime: () => 0,
    after: (_ms: number, fn: () => void) => {
      timers.push(fn)
      return { cancel: () => undefined }
    },
  }
  const first = connection(1)
  const second = connection(0)
  const opened = [first.fake, second.fake]
  const connector = { open: async () => opened.shift() } as unknown as Connector
  const host = { clock, random: { next: () => 0, token: () => '' } } as unknown as Host
  const supervisor = new Supervisor(SPEC, connector, host, new Store(), {
    stderr: () => undefined,
    warning: () => undefined,
  })
  supervisor.boot()
  await expect.poll(() => supervisor.connection).toBe(first.fake)
  supervisor.reportUnreachable(first.fake, new GatewayError('UPSTREAM_UNAVAILABLE', 'refused'))
  expect(supervisor.connection).toBeNull()
  for (const timer of timers.splice(0)) timer()
  expect(first.state.destroyed).toBe(0)
  await expect.poll(() => supervisor.connection).toBe(second.fake)
  first.state.inFlight = 0
  for (const timer of timers.splice(0)) timer()
  expect(first.state.destroyed).toBe(1)
})
