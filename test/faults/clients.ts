import { type ClientRequest, type IncomingMessage, request } from 'node:http'
import { MODERN, MODERN_META } from '../kit/modern-meta.js'
import { dataOf } from '../kit/raw-http.js'
import { type Answer, type Ledger, readAnswer, type Sent } from './ledger.js'

export type Era = 'legacy' | 'modern'

export interface AskOptions {
  /** Default 10 s. */
  readonly deadlineMs?: number
  /** Progress is wanted, under this token. */
  readonly progressToken?: string
  /** The tool does not say its arguments back. */
  readonly mute?: boolean
}

/** What a legacy client answers when it is asked something. */
export type Answering = (method: string, params: unknown) => unknown

type Headers = Readonly<Record<string, string>>

/** A client of one era over raw HTTP: it sees every message, wanted or not, and writes all of it into the ledger. */
export class RowClient {
  #headers: Headers = {}
  #nextId = 1
  #listening: ClientRequest | null = null
  /** Methods that it was asked for. */
  readonly asked: string[] = []

  constructor(
    readonly name: string,
    readonly era: Era,
    private readonly url: string,
    private readonly ledger: Ledger,
    private readonly answering: Answering | null = null,
  ) {}

  /** Handshake of a legacy client, and its stream for whatever nobody asked for. */
  async open(): Promise<this> {
    if (this.era === 'modern') return this
    const clientInfo = { name: this.name, version: '1' }
    const capabilities = this.answering ? { elicitation: {} } : {}
    const hello = { protocolVersion: '2025-11-25', capabilities, clientInfo }
    this.#headers = { 'mcp-session-id': await this.#session(hello) }
    await this.#exchange('{"jsonrpc":"2.0","method":"notifications/initialized"}', {}, () => {}).done
    await this.#listen()
    return this
  }

  /** A gateway on a busy machine may refuse new sessions for a moment. */
  async #session(hello: unknown): Promise<string> {
    for (let tries = 0; tries < 20; tries += 1) {
      const { headers, statusCode } = await this.#exchange(
        this.#message('initialize', hello, 0),
        {},
        () => {},
      ).response
      const session = headers['mcp-session-id']
      if (typeof session === 'string') return session
      if (statusCode !== 503) throw new Error(`initialize was answered with HTTP ${statusCode}`)
      await new Promise(resolve => setTimeout(resolve, 500))
    }
    throw new Error('initialize was refused for 10 s')
  }

  close(): void {
    this.#listening?.destroy()
  }

  /** Calls a tool with a nonce in its arguments. */
  call(tool: string, args: Readonly<Record<string, unknown>> = {}, options: AskOptions = {}): Sent {
    const nonce = this.ledger.nonce(this.name)
    return this.#ask('tools/call', { name: tool, arguments: { nonce, ...args } }, { nonce, tool }, options)
  }

  request(method: string, params: Readonly<Record<string, unknown>> = {}, options: AskOptions = {}): Sent {
    return this.#ask(method, params, { nonce: null, tool: null }, options)
  }

  /** Names of all listed tools. */
  async tools(): Promise<readonly string[]> {
    const { result, text } = await this.request('tools/list').answer
    if (!result) throw new Error(`tools/list failed: ${text}`)
    return (result['tools'] as readonly { readonly name: string }[]).map(({ name }) => name)
  }

  #ask(
    method: string,
    params: Readonly<Record<string, unknown>>,
    subject: { readonly nonce: string | null; readonly tool: string | null },
    { deadlineMs = 10_000, progressToken, mute = false }: AskOptions,
  ): Sent {
    const id = this.#nextId++
    const before: string[] = []
    const answers: Answer[] = []
    const sentAt = performance.now()
    let cancelled = false
    const meta = progressToken === undefined ? {} : { progressToken }
    const body = this.#message(method, this.#withMeta(params, meta), id)
    let settle: (answer: Answer) => void = () => {}
    const first = new Promise<Answer>(resolve => {
      settle = resolve
    })
    const exchange = this.#exchange(body, this.#routing(method, params), text => {
      if (!isAnswerTo(text, id)) {
        before.push(text)
        return this.#respond(text)
      }
      answers.push(readAnswer(text, performance.now() - sentAt))
      settle(answers[0] as Answer)
    })
    const broken = exchange.done.then(() => {
      throw new Error(`${this.name}: ${method} ended without an answer; before it: ${before.join(' ')}`)
    })
    const answer = Promise.race([first, broken])
    answer.catch(() => {})
    const sent: Sent = {
      client: this.name,
      method,
      ...subject,
      echoes: subject.tool !== null && !mute,
      sentAt,
      deadlineMs,
      before,
      answers,
      answer,
      get cancelled() {
        return cancelled
      },
      cancel: () => {
        cancelled = true
        this.#cancel(id, exchange.request)
      },
    }
    this.ledger.sent.push(sent)
    return sent
  }

  #respond(text: string): void {
    const { id, method, params } = JSON.parse(text) as { id?: unknown; method?: string; params?: unknown }
    if (id === undefined || method === undefined || !this.answering) return
    this.asked.push(method)
    const result = this.answering(method, params)
    this.#exchange(JSON.stringify({ jsonrpc: '2.0', id, result }), {}, () => {})
  }

  /** A legacy client says so; a modern one closes the stream. */
  #cancel(id: number, sent: ClientRequest): void {
    if (this.era === 'modern') return void sent.destroy()
    const note = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } }
    this.#exchange(JSON.stringify(note), {}, () => {})
  }

  #message(method: string, params: unknown, id: number): string {
    return JSON.stringify({ jsonrpc: '2.0', id, method, params })
  }

  #withMeta(params: object, meta: object): object {
    const own = this.era === 'modern' ? MODERN_META : {}
    const all = { ...own, ...meta }
    return Object.keys(all).length === 0 ? params : { ...params, _meta: all }
  }

  #routing(method: string, params: Readonly<Record<string, unknown>>): Headers {
    if (this.era === 'legacy') return {}
    const name = params['name'] ?? params['uri']
    const named: Headers = typeof name === 'string' ? { 'mcp-name': name } : {}
    return { 'mcp-protocol-version': MODERN, 'mcp-method': method, ...named }
  }

  #exchange(body: string, headers: Headers, hear: (text: string) => void): Exchange {
    const all = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': String(Buffer.byteLength(body)),
      ...this.#headers,
      ...headers,
    }
    const sent = request(this.url, { method: 'POST', headers: all, agent: false })
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve)
      sent.once('error', reject)
    })
    const done = response.then(res => readMessages(res, hear)).catch(() => {})
    response.catch(() => {})
    sent.on('error', () => {})
    sent.end(body)
    return { request: sent, response, done }
  }

  async #listen(): Promise<void> {
    const headers = { accept: 'text/event-stream', ...this.#headers }
    const sent = request(this.url, { method: 'GET', headers, agent: false })
    this.#listening = sent
    const opened = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve)
      sent.once('error', reject)
    })
    sent.on('error', () => {})
    sent.end()
    const res = await opened
    const hear = (text: string) => {
      this.ledger.unasked.push({ client: this.name, text })
      this.#respond(text)
    }
    void readMessages(res, hear).catch(() => {})
  }
}

interface Exchange {
  readonly request: ClientRequest
  readonly response: Promise<IncomingMessage>
  /** Resolves when everything was read, or the exchange broke. */
  readonly done: Promise<void>
}

function isAnswerTo(text: string, id: number): boolean {
  const message = JSON.parse(text) as { readonly id?: unknown; readonly method?: unknown }
  return message.method === undefined && (message.id === id || message.id === null)
}

/** Messages of a JSON body or an event stream, as they come. */
function readMessages(res: IncomingMessage, hear: (text: string) => void): Promise<void> {
  const streamed = (res.headers['content-type'] ?? '').startsWith('text/event-stream')
  let rest = ''
  res.setEncoding('utf8')
  res.on('data', (chunk: string) => {
    rest += chunk
    if (!streamed) return
    const events = rest.split('\n\n')
    rest = events.pop() ?? ''
    for (const data of events.flatMap(dataOf)) hear(data)
  })
  return new Promise((resolve, reject) => {
    res.on('end', () => {
      if (!streamed && rest !== '') hear(rest)
      resolve()
    })
    res.on('close', resolve)
    res.on('error', reject)
  })
}
