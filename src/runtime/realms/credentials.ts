import { GatewayError, type HttpSpec, type UpstreamSpec } from '../../model/index.js'
import type { Clock, Connector, ConnectorFactory } from '../ports.js'

/** Headers with which one identity goes to one server; null = it has none of its own. */
export type CredentialSource = (asked: {
  readonly upstream: string
  readonly principal: string
}) => Headers | null | Promise<Headers | null>

type Headers = Readonly<Record<string, string>>

/**
 * A connector that asks for the identity's headers before each start, so that a renewed token is used from the next one
 * on. They go into the requests and nowhere else.
 * @param shared the one of whoever brings no headers of his own
 */
export function withCredentials(
  spec: UpstreamSpec,
  principal: string,
  shared: Connector,
  connectors: ConnectorFactory,
  { ask, clock }: { readonly ask: CredentialSource | undefined; readonly clock: Clock },
): Connector {
  const { transport } = spec
  if (!ask || transport.kind === 'stdio') return shared
  let last: { readonly headers: Headers; readonly connector: Connector } | null = null
  return {
    open: async (events, signal, capabilities) => {
      const asked = Promise.resolve().then(() => ask({ upstream: spec.name, principal }))
      const headers = checked(await bounded(asked, spec, clock, signal), spec.name)
      if (Object.keys(headers).length === 0) return shared.open(events, signal, capabilities)
      // The same headers: what was learned about the server holds on.
      if (!last || !sameHeaders(last.headers, headers)) {
        last = { headers, connector: connectors({ ...spec, transport: merged(transport, headers) }) }
      }
      return last.connector.open(events, signal, capabilities)
    },
  }
}

/** What the program says about its failure may hold what nobody else must read, so it stays with the cause. */
function failed(upstream: string, reason: string, cause?: unknown): GatewayError {
  return new GatewayError('UPSTREAM_UNAVAILABLE', `${upstream}: ${reason}.`, { upstream, reason, cause })
}

function bounded<T>(work: Promise<T>, { name, timeouts }: UpstreamSpec, clock: Clock, signal: AbortSignal) {
  return new Promise<T>((resolve, reject) => {
    const give = () => reject(signal.reason)
    const timer = clock.after(timeouts.start, () =>
      reject(failed(name, 'the program that embeds the gateway gave no credentials in time')),
    )
    signal.addEventListener('abort', give, { once: true })
    work
      .catch((cause: unknown) => {
        throw failed(name, 'the program that embeds the gateway could not give credentials', cause)
      })
      .then(resolve, reject)
      .finally(() => {
        timer.cancel()
        signal.removeEventListener('abort', give)
      })
  })
}

const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function checked(headers: Headers | null, upstream: string): Headers {
  const all = Object.entries(headers ?? {})
  if (all.every(([name, value]) => NAME.test(name) && typeof value === 'string' && VALUE.test(value))) {
    return Object.fromEntries(all)
  }
  throw failed(upstream, 'the credentials that it was given are no HTTP headers')
}

/** Header names know no case: an own one takes the place of the configured one. */
function merged(transport: HttpSpec, headers: Headers): HttpSpec {
  const own = new Set(Object.keys(headers).map(name => name.toLowerCase()))
  const kept = Object.entries(transport.headers).filter(([name]) => !own.has(name.toLowerCase()))
  return { ...transport, headers: { ...Object.fromEntries(kept), ...headers } }
}

function sameHeaders(a: Headers, b: Headers): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every(name => a[name] === b[name])
}
