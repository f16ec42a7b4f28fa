import { Agent, type IncomingMessage, request } from 'node:http'
import { PATIENCE_MS } from './until.js'

export interface RawOptions {
  readonly method: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  readonly timeoutMs?: number
}

export interface RawResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
  readonly text: string
  /** Data of each event, when the answer was an event stream. */
  readonly events: readonly string[]
  /** The raw JSON-RPC messages, whichever way they came. */
  readonly messages: readonly string[]
}

/** One HTTP exchange on a socket of its own, byte for byte. */
export async function rawRequest(url: string, options: RawOptions): Promise<RawResponse> {
  const res = await open(url, options)
  const chunks: Buffer[] = []
  for await (const chunk of res) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const text = body.toString('utf8')
  const streamed = (res.headers['content-type'] ?? '').startsWith('text/event-stream')
  const events = streamed ? dataOf(text) : []
  const messages = streamed ? events : text === '' ? [] : [text]
  return { status: res.statusCode ?? 0, headers: res.headers, body, text, events, messages }
}

/** Posts bytes as an MCP client would; `headers` add to and replace the usual ones. */
export function rawPost(
  url: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawResponse> {
  return rawRequest(url, { method: 'POST', body, headers: { ...MCP_HEADERS, ...headers } })
}

export const MCP_HEADERS = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
} as const

/** An answer that is read event by event. */
export interface RawStream {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** The data of the next event; null after the end of the stream. */
  next(timeoutMs?: number): Promise<string | null>
  /** What came so far, as text. */
  readonly text: string
  /** Drops the connection. */
  drop(): void
}

/** Opens an exchange and returns as soon as the headers are there. */
export async function rawStream(url: string, options: RawOptions): Promise<RawStream> {
  const res = await open(url, options)
  const queue: string[] = []
  const waiting: ((event: string | null) => void)[] = []
  let text = ''
  let rest = ''
  let over = false
  res.setEncoding('utf8')
  res.on('data', (chunk: string) => {
    text += chunk
    const parts = (rest + chunk).split('\n\n')
    rest = parts.pop() ?? ''
    for (const data of parts.flatMap(part => dataOf(part))) {
      const waiter = waiting.shift()
      if (waiter) waiter(data)
      else queue.push(data)
    }
  })
  const end = (): void => {
    over = true
    for (const waiter of waiting.splice(0)) waiter(null)
  }
  res.on('end', end)
  res.on('close', end)
  res.on('error', end)
  return {
    status: res.statusCode ?? 0,
    headers: res.headers,
    get text() {
      return text
    },
    next: (timeoutMs = PATIENCE_MS) => {
      const ready = queue.shift()
      if (ready !== undefined) return Promise.resolve(ready)
      if (over) return Promise.resolve(null)
      return waitOne(waiting, timeoutMs, () => text)
    },
    drop: () => res.destroy(),
  }
}

function waitOne(
  waiting: ((event: string | null) => void)[],
  timeoutMs: number,
  seen: () => string,
): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const waiter = (event: string | null): void => {
      clearTimeout(timer)
      resolve(event)
    }
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(waiter), 1)
      reject(new Error(`No event came in ${timeoutMs} ms. So far:\n${seen()}`))
    }, timeoutMs)
    waiting.push(waiter)
  })
}

function open(url: string, options: RawOptions): Promise<IncomingMessage> {
  const body = options.body === undefined ? undefined : Buffer.from(options.body)
  return new Promise((resolve, reject) => {
    const req = request(
      url,
      {
        method: options.method,
        agent: new Agent({ keepAlive: false }),
        timeout: options.timeoutMs ?? PATIENCE_MS,
        headers: { ...(body ? { 'content-length': String(body.length) } : {}), ...options.headers },
      },
      resolve,
    )
    req.on('timeout', () =>
      req.destroy(new Error(`No bytes from ${url} in ${options.timeoutMs ?? PATIENCE_MS} ms.`)),
    )
    req.on('error', reject)
    req.end(body)
  })
}

/** The data of each event in a piece of an event stream; comments have none. */
export function dataOf(text: string): string[] {
  return text
    .split('\n\n')
    .map(part =>
      part
        .split('\n')
        .filter(line => line.startsWith('data:'))
        .map(line => line.slice(line.startsWith('data: ') ? 6 : 5))
        .join('\n'),
    )
    .filter(data => data !== '')
}
