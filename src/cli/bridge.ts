import { nodeHost } from '../host/index.js'
import { type Bytes, ERRORS, LIMITS, type Timeouts } from '../model/index.js'
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
  scanEnvelope,
  stringAt,
  UPSTREAM_SCAN,
  WireError,
} from '../wire/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { say } from './talk.js'

const TIMEOUTS: Timeouts = { connect: 5_000, start: 20_000, request: 0, total: 0, list: 0, listTotal: 0 }
const MODERN_VERSION = 'io.modelcontextprotocol/protocolVersion'

/** Lines on stdin and stdout, HTTP on the other side; every message passes as bytes. */
export async function bridge(address: string): Promise<number> {
  const url = parseUrl(address)
  await new Bridge(url, process.stdin, process.stdout).run()
  return EXIT.ok
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
}

class Bridge {
  readonly #transport: Transport
  readonly #pending = new Map<number, Pending>()
  #next = 1
  /** True after an `initialize`: what comes then is legacy unless it says otherwise. */
  #session = false

  constructor(
    url: string,
    private readonly input: NodeJS.ReadStream,
    private readonly output: NodeJS.WriteStream,
  ) {
    this.#transport = createHttpTransport(nodeHost(), { kind: 'http', url, headers: {} }, TIMEOUTS, {
      message: (bytes, source) => this.#answer(bytes, source),
      ended: (id, fault) => this.#ended(id, fault),
      closed: fault => say(`holdfast: ${fault.message}`),
      noise: what => say(`holdfast: ${what}`),
      stderr: () => undefined,
    })
  }

  async run(): Promise<void> {
    const lines = new LineSplitter(LIMITS.bodyBytes, {
      line: bytes => this.#forward(bytes),
      overflow: () => this.#write(errorMessage(null, rpcError(-32700, 'The message is too large.'))),
    })
    await new Promise<void>(resolve => {
      this.input.on('data', (chunk: Buffer) => lines.push(chunk))
      this.input.once('end', resolve)
      this.output.once('error', () => resolve())
      for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
    })
    await this.#transport.close()
  }

  #write(message: Bytes): void {
    this.output.write(encodeLine(message))
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
      this.#transport.send(message)
      if (envelope.method === 'notifications/initialized') this.#transport.openNotificationStream()
      return
    }
    const id = this.#next++
    this.#pending.set(id, { id: idBytes(envelope), method: envelope.method ?? '' })
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
      this.#pending.delete(id)
      this.#transport.abort(id)
    }
    return true
  }

  #answer(bytes: Bytes, source: number | null): void {
    const envelope = scanEnvelope(bytes, UPSTREAM_SCAN)
    const pending = source === null ? undefined : this.#pending.get(source)
    const isFinal = envelope.kind === 'result' || envelope.kind === 'error'
    if (pending && isFinal && source !== null) this.#pending.delete(source)
    if (pending?.method === 'initialize' && envelope.result) this.#begin(bytes, envelope)
    this.#write(bytes)
  }

  #begin(bytes: Bytes, envelope: Envelope): void {
    if (!envelope.result) return
    const found = member(objectAt(bytes, envelope.result), 'protocolVersion')
    this.#session = true
    this.#transport.useProtocolVersion((found && stringAt(bytes, found)) ?? null)
  }

  #ended(id: number, fault: TransportFault | null): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    this.#pending.delete(id)
    this.#write(errorMessage(pending.id, faultError(fault)))
  }
}

/** An error that the gateway put into the body passes on as it is. */
function faultError(fault: TransportFault | null): Bytes {
  if (fault?.body) {
    try {
      const envelope = scanEnvelope(fault.body, UPSTREAM_SCAN)
      if (envelope.error) return fault.body.subarray(envelope.error.start, envelope.error.end)
    } catch (thrown) {
      if (!(thrown instanceof WireError)) throw thrown
    }
  }
  const reason = fault?.message ?? 'it ended its answer without a result'
  return rpcError(ERRORS.UPSTREAM_UNAVAILABLE.rpcCode, `The gateway cannot be reached: ${reason}.`)
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
