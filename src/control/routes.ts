import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Bytes, messageOf } from '../model/index.js'
import type { Clock } from '../runtime/ports.js'
import { type ActionSource, decode, serveAction } from './actions.js'
import { sendJson, sendRaw, takesVerb } from './answer.js'
import type { ReaderBuffers } from './event-stream.js'
import { healthOf } from './health.js'
import type { GatewayStatus } from './status.js'
import { Streams } from './streams.js'
import type { TransitionFeed } from './transitions.js'

/** `GET /api/v1/tools`. */
export interface ToolListing {
  /** Every configured server, in order. */
  readonly servers: readonly string[]
  /** Raw JSON of each tool under its public name, with its owner. */
  readonly tools: readonly { readonly server: string; readonly tool: Bytes }[]
  readonly unavailable: readonly { readonly upstream: string; readonly reason: string }[]
}

export interface ControlSource extends ActionSource {
  readonly clock: Clock
  readonly readers: ReaderBuffers
  readonly transitions: TransitionFeed
  /** Told of each configuration that was taken over or refused. Returns the way to stop it. */
  onConfig?(listener: (result: unknown) => void): () => void
  readonly draining: boolean
  status(): GatewayStatus
  /** What is configured, with every default and without secrets. */
  config(): object
  /** Last lines of a server's stderr, oldest first; null for an unknown name. */
  logs(name: string): readonly string[] | null
  /** Told of each later line. Returns the way to stop it. */
  followLogs(name: string, listener: (line: string) => void): () => void
  tools(): Promise<ToolListing>
}

/** The control routes of one gateway. */
export class Control {
  readonly #streams: Streams

  constructor(private readonly source: ControlSource) {
    this.#streams = new Streams(source)
  }

  /** False when the path is none of them. */
  handle(req: IncomingMessage, res: ServerResponse, path: string): boolean {
    const stream = req.method === 'GET' ? this.#streamFor(req, path) : null
    if (stream) {
      stream(res)
      return true
    }
    // All of the answer was handed over; for one who does not read it, it would be kept for ever.
    res.once('prefinish', () => this.source.readers.watchRest(res))
    if (serveAction(this.source, req, res, path)) return true
    const answer = answerFor(this.source, path)
    if (!answer) return false
    if (takesVerb(req.method, res, path, ['GET', 'HEAD'])) void give(res, answer)
    return true
  }

  /** Ends every event stream. */
  close(): void {
    this.#streams.close()
  }

  #streamFor(req: IncomingMessage, path: string): ((res: ServerResponse) => void) | null {
    if (path === EVENTS) return res => this.#streams.events(res)
    const name = /^\/api\/v1\/upstreams\/([^/]+)\/logs$/.exec(path)?.[1]
    if (name === undefined || !wantsFollow(req)) return null
    return res => this.#streams.logs(res, decode(name))
  }
}

const EVENTS = '/api/v1/events'

/** `?follow`, `?follow=1`, `?follow=true`. */
function wantsFollow(req: IncomingMessage): boolean {
  const value = new URL(req.url ?? '/', 'http://gateway').searchParams.get('follow')
  return value !== null && value !== '0' && value !== 'false'
}

interface Answer {
  readonly status: number
  /** A string is JSON already. */
  readonly body: unknown
}

async function give(res: ServerResponse, answer: () => Answer | Promise<Answer>): Promise<void> {
  try {
    const { status, body } = await answer()
    if (typeof body === 'string') sendRaw(res, status, body)
    else sendJson(res, status, body)
  } catch (thrown) {
    sendJson(res, 500, { error: messageOf(thrown) })
  }
}

function answerFor(source: ControlSource, path: string): (() => Answer | Promise<Answer>) | null {
  switch (path) {
    case '/healthz':
      return () => ({ status: 200, body: { ok: true } })
    case '/readyz':
      return () => ({ status: source.draining ? 503 : 200, body: { ready: !source.draining } })
    case '/api/v1/health':
      return () => ({ status: 200, body: healthOf(source.status()) })
    case '/api/v1/status':
      return () => ({ status: 200, body: source.status() })
    case '/api/v1/config':
      return () => ({ status: 200, body: source.config() })
    case '/api/v1/upstreams':
      return () => ({ status: 200, body: { upstreams: source.status().upstreams } })
    case EVENTS:
      // To HEAD: a stream has no length to tell.
      return () => ({ status: 200, body: '' })
    case '/api/v1/tools':
      return async () => ({ status: 200, body: encodeTools(await source.tools()) })
    default:
      return upstreamAnswer(source, path)
  }
}

function upstreamAnswer(source: ControlSource, path: string): (() => Answer) | null {
  const match = /^\/api\/v1\/upstreams\/([^/]+)(\/logs)?$/.exec(path)
  if (!match) return null
  const name = decode(match[1] ?? '')
  return () => {
    const found = source.upstream(name)
    const lines = source.logs(name)
    if (!found || !lines)
      return { status: 404, body: { error: `No server named ${JSON.stringify(name)} is configured.` } }
    return { status: 200, body: match[2] ? { lines } : found }
  }
}

/** The tools are written as bytes, so that numbers beyond 2^53 survive here too. */
function encodeTools({ servers, tools, unavailable }: ToolListing): string {
  const rows = tools.map(({ server, tool }) => `{"server":${JSON.stringify(server)},"tool":${text(tool)}}`)
  const rest = JSON.stringify({ servers, unavailable }).slice(1)
  return `{"tools":[${rows.join(',')}],${rest}`
}

function text(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}
