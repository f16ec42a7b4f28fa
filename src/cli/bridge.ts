import type { Readable, Writable } from 'node:stream'
import { encodeFailure, stopping } from '../downstream/failures.js'
import { nodeHost } from '../host/index.js'
import { type Bytes, GatewayError, LIMITS, type Timeouts } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'
import type { OutgoingMessage, Transport, TransportFault } from '../upstream/transport.js'
import { createHttpTransport } from '../upstream/transports/index.js'
import {
  CLIENT_SCAN,
  type Envelope,
  encodeHeaderValue,
  encodeLine,
  errorMessage,
  idBytes,
  json,
  LineSplitter,
  member,
  objectAt,
  resultMessage,
  scanEnvelope,
  stringAt,
  UPSTREAM_SCAN,
  WireError,
} from '../wire/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { watchStopSignals } from './stop-signals.js'
import { say } from './talk.js'

const TIMEOUTS: Timeouts = { connect: 5_000, start: 20_000, request: 0, total: 0, list: 0, listTotal: 0 }
const MODERN_VERSION = 'io.modelcontextprotocol/protocolVersion'
/** As long as a gateway lets calls run on when it is stopped and nothing else is configured. */
const DRAIN_MS = 24_000

/** Lines on stdin and stdout, HTTP on the other side; every message passes as bytes. */
export async function bridge(address: string): Promise<number> {
  const made = new Bridge(parseUrl(address), process.stdin, process.stdout)
  const stop = watchStopSignals(() => made.kill())
  void stop.first.then(() => made.stop())
  await made.ended
  stop.begun()
  return made.close()
}

function parseUrl(address: string): string {
  if (URL.canParse(address) && /^https?:/.test(address)) return address
  throw new CommandFailure(
    EXIT.usage,
    `"${address}" is not an http(s) URL. Give the /mcp URL of a running gateway.`,
  )
}

interface Pending {
  /** The client's own id bytes. */
  readonly id: Bytes
  readonly method: string
  readonly modern: boolean
}

export class Bridge {
  /** Resolves when nothing new is to come: the client or its pipe is gone, the session is lost, or `stop` was called. */
  readonly ended: Promise<void>
  readonly #clock: Clock
  readonly #transport: Transport
  readonly #pending = new Map<number, Pending>()
  #next = 1
  /** True after an `initialize`: what comes then is legacy unless it says otherwise. */
  #session = false
  #stopping = false
  /** Nobody reads any more. */
  #deaf = false
  #lost = false
  #end: () => void = () => undefined
  #drained: (() => void) | null = null

  constructor(
    url: string,
    input: Readable,
    private readonly output: Writable,
    private readonly drainMs = DRAIN_MS,
  ) {
    const host = nodeHost()
    this.#clock = host.clock
    this.#transport = createHttpTransport(host, { kind: 'http', url, headers: {} }, TIMEOUTS, {
      message: (bytes, source) => this.#answer(bytes, source),
      ended: (id, fault) => this.#ended(id, fault),
      closed: fault => this.#lose(fault),
      noise: what => say(`holdfast: ${what}`),
      stderr: () => undefined,
    })
    const lines = new LineSplitter(LIMITS.bodyBytes, {
      line: bytes => this.#forward(bytes),
      overflow: () => this.#write(errorMessage(null, rpcError(-32700, 'The message is too large.'))),
    })
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
    input.on('data', (chunk: Buffer) => lines.push(chunk))
    for (const event of ['end', 'close', 'error']) input.on(event, () => this.stop())
    // A broken pipe may report more than one error.
    output.on('error', () => {
      this.#deaf = true
      this.stop()
      this.#drained?.()
    })
  }

  /** Takes nothing new. What runs may go on, and its answers still come, until the end of `close`. */
  stop(): void {
    this.#stopping = true
    this.#end()
  }

  /** Waits for what runs, for as long as a gateway would; whoever waits longer is told so. @returns the exit code */
  async close(): Promise<number> {
    await this.#drain()
    this.#giveUp('the bridge to the gateway was stopped')
    await this.#transport.close()
    return this.#lost ? EXIT.unreachable : EXIT.ok
  }

  /** At once; whoever waits is told. */
  async kill(): Promise<void> {
    this.stop()
    this.#giveUp('the bridge to the gateway was stopped')
    this.#drained?.()
    this.#transport.destroy()
  }

  #drain(): Promise<void> {
    if (this.#pending.size === 0 || this.#deaf || this.#lost) return Promise.resolve()
    return new Promise(resolve => {
      const timer = this.#clock.after(this.drainMs, resolve)
      this.#drained = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  #giveUp(reason: string): void {
    for (const id of [...this.#pending.keys()]) this.#fail(id, lostError(reason))
  }

  /** Every later message would be refused: the client has to begin anew, and sees that by our end. */
  #lose(fault: TransportFault): void {
    say(`holdfast: ${fault.message}`)
    this.#lost = true
    this.#giveUp(fault.message)
    this.stop()
  }

  #write(message: Bytes): void {
    if (!this.#deaf) this.output.write(encodeLine(message))
  }

  /** Takes the request off the list: it is answered, or needs no answer any more. */
  #forget(id: number): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (this.#pending.size === 0) queueMicrotask(() => this.#drained?.())
    return pending
  }

  #fail(id: number, error: GatewayError): void {
    const pending = this.#forget(id)
    if (pending) this.#write(refusal(pending, error))
  }

  #forward(bytes: Bytes): void {
    let envelope: Envelope
    try {
      envelope = scanEnvelope(bytes, CLIENT_SCAN)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
      this.#write(errorMessage(null, rpcError(thrown.rpcCode, thrown.message)))
      return
    }
    if (envelope.kind === 'notification' && this.#cancels(envelope)) return
    const headers = modernHeaders(envelope)
    const message: OutgoingMessage = { bytes, ...(headers ? { headers } : {}) }
    if (envelope.kind !== 'request') {
      // Also while it stops: what runs may wait for it.
      this.#transport.send(message)
      if (envelope.method === 'notifications/initialized') this.#transport.openNotificationStream()
      return
    }
    const pending = { id: idBytes(envelope), method: envelope.method ?? '', modern: headers !== null }
    if (this.#stopping) return this.#write(refusal(pending, stopping()))
    const id = this.#next++
    this.#pending.set(id, pending)
    this.#transport.send({ ...message, id })
  }

  /** A modern request is cancelled by dropping its stream; a legacy one by the notification itself. */
  #cancels(envelope: Envelope): boolean {
    if (envelope.method !== 'notifications/cancelled' || !envelope.params) return false
    const wanted = member(envelope.params, 'requestId')
    if (!wanted || this.#session) return false
    const text = Buffer.from(envelope.bytes.subarray(wanted.start, wanted.end))
    for (const [id, pending] of this.#pending) {
      if (!text.equals(pending.id)) continue
      this.#forget(id)
      this.#transport.abort(id)
    }
    return true
  }

  #answer(bytes: Bytes, source: number | null): void {
    const envelope = scanEnvelope(bytes, UPSTREAM_SCAN)
    const pending = source === null ? undefined : this.#pending.get(source)
    const isFinal = envelope.kind === 'result' || envelope.kind === 'error'
    if (pending?.method === 'initialize' && envelope.result) this.#begin(bytes, envelope)
    this.#write(bytes)
    if (pending && isFinal && source !== null) this.#forget(source)
  }

  #begin(bytes: Bytes, envelope: Envelope): void {
    if (!envelope.result) return
    const found = member(objectAt(bytes, envelope.result), 'protocolVersion')
    this.#session = true
    this.#transport.useProtocolVersion((found && stringAt(bytes, found)) ?? null)
  }

  #ended(id: number, fault: TransportFault | null): void {
    const pending = this.#pending.get(id)
    const told = fault?.body && pending ? errorIn(fault.body) : null
    if (!pending || !told) return this.#fail(id, faultError(fault))
    this.#write(errorMessage(pending.id, told))
    this.#forget(id)
  }
}

/** An error that the gateway put into the body passes on as it is. */
function errorIn(body: Bytes): Bytes | null {
  try {
    const { error } = scanEnvelope(body, UPSTREAM_SCAN)
    return error && body.subarray(error.start, error.end)
  } catch (thrown) {
    if (!(thrown instanceof WireError)) throw thrown
    return null
  }
}

function faultError(fault: TransportFault | null): GatewayError {
  const reason = fault?.message ?? 'it ended its answer without a result'
  if (!fault || fault.phase === 'unknown') return lostError(reason)
  const message = `The gateway cannot be reached: ${reason}. The request was not processed.`
  return new GatewayError('UPSTREAM_UNAVAILABLE', message, { reason })
}

function lostError(reason: string): GatewayError {
  const message = `There is no answer: ${reason}. The request may or may not have run; check before repeating it.`
  return new GatewayError('OUTCOME_UNKNOWN', message, { phase: 'unknown', reason })
}

/** In the form that the request's own era and method want. */
function refusal({ id, method, modern }: Pending, error: GatewayError): Bytes {
  const final = encodeFailure(method, error, modern ? { resultType: 'complete' } : {})
  return 'result' in final ? resultMessage(id, final.result) : errorMessage(id, final.error)
}

function rpcError(code: number, message: string): Bytes {
  return json({ code, message })
}

/** Streamable HTTP mirrors these from the body of a stateless request (spec: transports, "Header values"). */
function modernHeaders(envelope: Envelope): Record<string, string> | null {
  const version = envelope.meta && member(envelope.meta, MODERN_VERSION)
  const text = version && stringAt(envelope.bytes, version)
  if (!text || !envelope.method) return null
  const name = envelope.method === 'resources/read' ? envelope.uri : envelope.name
  return {
    'mcp-protocol-version': text,
    'mcp-method': envelope.method,
    ...(name === null ? {} : { 'mcp-name': encodeHeaderValue(name) }),
  }
}
