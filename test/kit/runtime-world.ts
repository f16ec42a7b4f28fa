/** One supervised server whose every answer the test decides, on virtual time. */
import { Suspicion } from '../../src/core/health/index.js'
import { GatewayError, type Outcome, type UpstreamSpec } from '../../src/model/index.js'
import type {
  Connection,
  ConnectionEvents,
  Connector,
  Host,
  UpstreamRequest,
} from '../../src/runtime/ports.js'
import { Store } from '../../src/runtime/store.js'
import { Supervisor } from '../../src/runtime/supervisor.js'
import { virtualClock } from './virtual-clock.js'

const TIMEOUTS = { connect: 1, start: 1, request: 60_000, total: 600_000, list: 1, listTotal: 1 }
export const SPEC: UpstreamSpec = {
  name: 'a',
  transport: { kind: 'http', url: 'http://127.0.0.1:1/', headers: {} },
  prefix: 'a',
  enabled: true,
  lazy: false,
  era: 'auto',
  isolation: 'shared',
  timeouts: TIMEOUTS,
  supervision: {
    health: { intervalMs: 30_000, timeoutMs: 5_000, failures: 3 },
    restart: { max: 5, windowMs: 120_000 },
    maxInFlight: 4,
    trusted: false,
    idempotent: [],
    idleStopMs: null,
    wake: false,
  },
  cacheTtlMs: 300_000,
  cacheResults: [],
  unavailable: 'keep',
  pin: 'warn',
  tools: {},
  resources: {},
  prompts: {},
}

export type Answer = (request: UpstreamRequest) => Outcome | null

/** A server whose answers the test decides; `null` = none. */
export function world(kind: 'stdio' | 'http', answer: Answer, part: Partial<UpstreamSpec> = {}) {
  const clock = virtualClock()
  const asked: string[] = []
  const opened: { events: ConnectionEvents; destroyed: boolean; closed: boolean }[] = []
  const behaviour = {
    answer,
    open: (): GatewayError | null => null,
    opening: (): Promise<null> => Promise.resolve(null),
    /** When set, every resource can be followed. */
    follow: null as Connection['follow'] | null,
  }
  const connector: Connector = {
    open: async events => {
      await behaviour.opening()
      const refusal = behaviour.open()
      if (refusal) throw refusal
      const state = { events, destroyed: false, closed: false }
      opened.push(state)
      return {
        transport: kind,
        era: 'legacy',
        protocolVersion: 'x',
        serverInfo: null,
        capabilities: { tools: {} },
        instructions: null,
        pid: opened.length,
        inFlight: 0,
        ...(behaviour.follow ? { follow: behaviour.follow } : {}),
        request: request => {
          asked.push(request.method)
          const outcome = behaviour.answer(request)
          if (outcome) queueMicrotask(() => request.settle(outcome))
          return { cancel: () => queueMicrotask(() => request.settle({ kind: 'cancelled' })) }
        },
        close: async () => {
          state.closed = true
        },
        destroy: () => {
          state.destroyed = true
        },
      } satisfies Connection
    },
  }
  const host = { clock, random: { next: () => 0.5, token: () => '' } } as unknown as Host
  const store = new Store()
  const events = { stderr: () => undefined, warning: () => undefined }
  const transport: UpstreamSpec['transport'] =
    kind === 'stdio' ? { kind, command: 'x', args: [], env: {} } : SPEC.transport
  const spec = { ...SPEC, transport, ...part }
  const supervisor = new Supervisor(spec, connector, { host, store, events, suspicion: new Suspicion() })
  return { supervisor, clock, store, host, asked, opened, behaviour }
}

export const OK: Outcome = {
  kind: 'answered',
  reply: { result: Buffer.from('{"tools":[]}') },
  era: 'legacy',
  upstream: 'a',
}
export const lost = (reason: string) =>
  new GatewayError('OUTCOME_UNKNOWN', reason, { upstream: 'a', reason, phase: 'unknown' })
export const failedWith = (reason: string): Outcome => ({ kind: 'unknown', error: lost(reason) })
