import { GatewayError, isGatewayError, type Kind, type MisconfiguredSpec } from '../model/index.js'
import { reasonOf } from './failures.js'
import type { Connection } from './ports.js'

/** How far a failed test came. */
export type TestPhase = 'dns' | 'connect' | 'tls' | 'spawn' | 'auth' | 'initialize' | 'list'

export interface TestReport {
  readonly upstream: string
  readonly ok: boolean
  /** Where the last try failed; null after a success, and for an entry that cannot work as it is written. */
  readonly phase: TestPhase | null
  /** Of the last try, without the farewell. */
  readonly latencyMs: number
  /** Tries that were made. */
  readonly attempts: number
  readonly error: { readonly code: string; readonly kind: string; readonly message: string } | null
  /** The error and what caused it, outermost first; what repeats the line before is left out. */
  readonly causeChain: readonly string[]
  readonly transport: string | null
  readonly protocolVersion: string | null
  readonly serverInfo: { readonly name: string; readonly version: string } | null
  /** What the gateway would offer of it; null when the tools could not be listed. */
  readonly counts: Readonly<Record<Kind, number>> | null
  /** Kinds besides tools whose list failed, with the cause. */
  readonly failed: Readonly<Partial<Record<Kind, string>>>
}

/** The reasons of a transport's fault that say how far it came. */
const PHASE_OF_FAULT: Readonly<Record<string, TestPhase>> = {
  dns: 'dns',
  refused: 'connect',
  'connect-timeout': 'connect',
  tls: 'tls',
  spawn: 'spawn',
}

export function phaseOf(error: GatewayError, connected: boolean): TestPhase {
  if (error.kind === 'auth_required') return 'auth'
  if (connected) return 'list'
  const fault = error.cause as { readonly reason?: unknown } | null | undefined
  const reason = typeof fault === 'object' ? fault?.reason : undefined
  return (typeof reason === 'string' ? PHASE_OF_FAULT[reason] : undefined) ?? 'initialize'
}

/** Trying again at once cannot help against these. */
export function isPermanent(error: GatewayError, phase: TestPhase): boolean {
  return error.kind === 'misconfigured' || phase === 'auth' || phase === 'tls'
}

export function blankReport(upstream: string): TestReport {
  return {
    upstream,
    ok: false,
    phase: null,
    latencyMs: 0,
    attempts: 0,
    error: null,
    causeChain: [],
    transport: null,
    protocolVersion: null,
    serverInfo: null,
    counts: null,
    failed: {},
  }
}

export function factsOf({ transport, protocolVersion, serverInfo }: Connection): Partial<TestReport> {
  return { transport, protocolVersion, serverInfo }
}

export function misconfiguredReport({ name, problem: reason }: MisconfiguredSpec): TestReport {
  const error = new GatewayError('MISCONFIGURED', `${name}: ${reason}`, { upstream: name, reason })
  return { ...blankReport(name), ...failureIn(error) }
}

export function failureIn(error: GatewayError): Pick<TestReport, 'error' | 'causeChain'> {
  const { code, kind } = error
  return { error: { code, kind, message: reasonOf(error) }, causeChain: causeChainOf(error) }
}

const MAX_CAUSES = 8

function causeChainOf(error: GatewayError): readonly string[] {
  const chain: string[] = []
  let cause: unknown = error
  while (cause !== undefined && cause !== null && chain.length < MAX_CAUSES) {
    const text = describeCause(cause)
    if (text !== '' && text !== chain.at(-1)) chain.push(text)
    if (typeof cause !== 'object') break
    const { cause: next, errors } = cause as { cause?: unknown; errors?: unknown }
    // Happy eyeballs tells one cause for each address; the first speaks for all.
    cause = next ?? (Array.isArray(errors) ? errors[0] : undefined)
  }
  return chain
}

function describeCause(cause: unknown): string {
  if (isGatewayError(cause)) return reasonOf(cause)
  if (typeof cause !== 'object' || cause === null) return String(cause)
  const { message, code } = cause as { message?: unknown; code?: unknown }
  const text = typeof message === 'string' ? message : ''
  return typeof code === 'string' && !text.includes(code) ? `${code}: ${text}` : text
}
