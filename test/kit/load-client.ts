import { Agent, request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { MODERN_META } from './modern-meta.js'
import { dataOf } from './raw-http.js'

/** What one client asked, and what it was told. */
export interface Told {
  readonly nonce: string
  readonly upstream: string
  /** The name that was called. */
  readonly tool: string
  /** Final answers to it; exactly one is right. */
  answers: number
  /** `done`, a failure kind, or what was wrong with the answer. */
  outcome: string
  /** The cause that a failure names. */
  reason: string
}

/** What is called next. */
export interface Aim {
  readonly upstream: string
  readonly tool: string
  /** Told when it has its answer, or will have none. */
  ended?(told: Told): void
}

export interface Load {
  readonly clients: number
  /** Stands in front of every nonce. */
  readonly label: string
  next(): Aim
  readonly random: () => number
  readonly pauseMs: number
}

/** Calls of many clients, every second one of the legacy era, for as long as the work takes. */
export async function underLoad(
  url: string,
  { clients, label, next, random, pauseMs }: Load,
  work: () => Promise<void>,
): Promise<readonly Told[]> {
  let isOver = false
  const all = Array.from(
    { length: clients },
    (_, at) => new LoadClient(url, `${label}${at}-`, at % 2 === 0 ? 'legacy' : 'modern'),
  )
  const load = all.map(client => client.run(next, random, () => isOver, pauseMs))
  const worked = work().finally(() => {
    isOver = true
  })
  await Promise.all([worked, ...load])
  return all.flatMap(({ told }) => told)
}

/** A gateway on a busy machine may refuse work for a moment; nothing of it ran. */
const TOO_BUSY = 'the gateway is overloaded'
const RETRY_MS = 500
const TRIES = 40

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly messages: readonly string[]
}

/** A client that calls tools of random servers one after the other, each with a nonce of its own. */
export class LoadClient {
  readonly told: Told[] = []
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 })
  #session: string | null = null
  #calls = 0

  constructor(
    private readonly url: string,
    private readonly name: string,
    private readonly era: 'legacy' | 'modern',
  ) {}

  /** @param next drawn before each call */
  async run(next: () => Aim, random: () => number, isOver: () => boolean, pauseMs: number): Promise<void> {
    while (!isOver()) {
      if (random() < 0.1) await this.#list()
      else await this.#call(next())
      await delay(pauseMs * random())
    }
    this.#agent.destroy()
  }

  async #list(): Promise<void> {
    const { messages } = await this.#ask('tools/list', {})
    const last = JSON.parse(messages.at(-1) ?? '{}') as { result?: { tools?: unknown } }
    if (!Array.isArray(last.result?.tools) && !messages.at(-1)?.includes(TOO_BUSY)) {
      const outcome = `not a list: ${messages.at(-1)}`
      this.told.push({ nonce: 'list', upstream: '', tool: '', answers: 1, outcome, reason: '' })
    }
  }

  async #call({ upstream, tool, ended }: Aim): Promise<void> {
    const nonce = `${this.name}-${++this.#calls}`
    const told: Told = { nonce, upstream, tool, answers: 0, outcome: 'none', reason: '' }
    this.told.push(told)
    try {
      for (let tries = 0; tries < TRIES; tries += 1) {
        await this.#try(told)
        if (told.reason !== TOO_BUSY) break
        await delay(RETRY_MS)
      }
    } finally {
      ended?.(told)
    }
  }

  async #try(told: Told): Promise<void> {
    const { nonce, tool } = told
    told.answers = 0
    const { messages } = await this.#ask('tools/call', { name: tool, arguments: { nonce } }, tool)
    for (const text of messages) {
      const message = JSON.parse(text) as Final
      if (message.id === undefined) continue
      told.answers += 1
      told.outcome = outcomeOf(message, nonce)
      told.reason = message.result?._meta?.['dev.holdfast/failure']?.reason ?? message.error?.message ?? ''
    }
  }

  async #ask(method: string, params: Record<string, unknown>, name?: string): Promise<Answer> {
    if (this.era === 'modern') {
      const headers = {
        'mcp-protocol-version': '2026-07-28',
        'mcp-method': method,
        ...(name === undefined ? {} : { 'mcp-name': name }),
      }
      return this.#post({ jsonrpc: '2.0', id: 0, method, params: { ...params, _meta: MODERN_META } }, headers)
    }
    if (!this.#session) await this.#hello()
    // Every client uses the same ids.
    const body = { jsonrpc: '2.0', id: this.#calls, method, params }
    return this.#post(body, { 'mcp-session-id': this.#session ?? '' })
  }

  async #hello(): Promise<void> {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: this.name, version: '1' },
    }
    let answer = await this.#post({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
    for (let tries = 1; tries < TRIES && answer.status === 503; tries += 1) {
      await delay(RETRY_MS)
      answer = await this.#post({ jsonrpc: '2.0', id: 0, method: 'initialize', params })
    }
    this.#session = String(answer.headers['mcp-session-id'])
    await this.#post(
      { jsonrpc: '2.0', method: 'notifications/initialized' },
      { 'mcp-session-id': this.#session },
    )
  }

  #post(message: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const body = Buffer.from(JSON.stringify(message))
    return new Promise((resolve, reject) => {
      const req = request(
        this.url,
        {
          method: 'POST',
          agent: this.#agent,
          timeout: 60_000,
          headers: {
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
            'content-length': body.length,
            ...headers,
          },
        },
        res => {
          let text = ''
          res.setEncoding('utf8').on('data', chunk => {
            text += chunk
          })
          res.on('error', reject)
          res.on('end', () =>
            resolve({ status: res.statusCode ?? 0, headers: res.headers, messages: messagesIn(text) }),
          )
        },
      )
      req.on('timeout', () => req.destroy(new Error('no answer in 60 s')))
      req.on('error', reject)
      req.end(body)
    })
  }
}

interface Result {
  readonly isError?: boolean
  readonly structuredContent?: { readonly nonce?: string }
  readonly _meta?: Readonly<Record<string, { readonly kind?: string; readonly reason?: string }>>
}

interface Final {
  readonly id?: unknown
  readonly result?: Result
  readonly error?: { readonly code: number; readonly message: string }
}

function outcomeOf({ result, error }: Final, nonce: string): string {
  if (error) return `error ${error.code}`
  const failure = result?._meta?.['dev.holdfast/failure']?.kind
  if (failure) return failure
  const said = result?.structuredContent?.nonce
  return said === nonce ? 'done' : `the answer of ${said}`
}

function messagesIn(text: string): string[] {
  if (text === '') return []
  return text.startsWith('{') ? [text] : dataOf(text)
}
