import { setTimeout as delay } from 'node:timers/promises'
import { type Fake, startFake } from '../kit/fake-mcp.js'
import type { TestGateway } from '../kit/gateway.js'
import { RowClient } from './clients.js'
import type { Ledger } from './ledger.js'

const CALM = ['calm_stdio', 'calm_http'] as const
const PAUSE_MS = 5

/** Two healthy servers beside the faulty one, under a steady trickle of calls from a client of their own. */
export class Bystanders {
  /** Milliseconds of each answered call since the last `take`. */
  #samples: number[] = []
  #calls = 0
  readonly failures: string[] = []
  #running = false
  #pumps: Promise<unknown> = Promise.resolve()
  #client: RowClient | null = null
  #pid: number | null = null
  #sessions = 0

  private constructor(
    readonly stdio: Fake,
    readonly http: Fake,
  ) {}

  static async start(): Promise<Bystanders> {
    const script = { builtins: ['echo'] }
    return new Bystanders(
      await startFake({ transport: 'stdio', script: { name: 'calm_stdio', ...script } }),
      await startFake({ transport: 'http', script: { name: 'calm_http', ...script } }),
    )
  }

  get entries(): Readonly<Record<string, unknown>> {
    return { calm_stdio: this.stdio.entry, calm_http: this.http.entry }
  }

  get calls(): number {
    return this.#calls
  }

  /** Remembers who they are and starts the trickle. */
  async watch(gateway: TestGateway, ledger: Ledger): Promise<void> {
    for (const name of CALM) await gateway.waitForState(name, 'ready')
    this.#pid = (await gateway.upstream('calm_stdio')).pid
    this.#sessions = this.http.records.sessions.length
    this.#client = await new RowClient('watcher', 'modern', gateway.url, ledger).open()
    this.#running = true
    this.#pumps = Promise.all(CALM.map(name => this.#pump(name)))
  }

  /** The latencies since the last time. */
  take(): readonly number[] {
    return this.#samples.splice(0)
  }

  async stop(): Promise<void> {
    this.#running = false
    await this.#pumps
  }

  /** What changed about them, in words; nothing should. */
  async changes(gateway: TestGateway): Promise<readonly string[]> {
    const { pid } = await gateway.upstream('calm_stdio')
    const sessions = this.http.records.sessions.length
    return [
      ...(pid === this.#pid ? [] : [`calm_stdio has pid ${pid}, it had ${this.#pid}`]),
      ...(sessions === this.#sessions ? [] : [`calm_http has a new session`]),
    ]
  }

  async close(): Promise<void> {
    await this.stop()
    await Promise.all([this.stdio.stop(), this.http.stop()])
  }

  async #pump(name: string): Promise<void> {
    while (this.#running && this.#client) {
      const sent = this.#client.call(`${name}__echo`)
      this.#calls++
      try {
        const { ms, failure, text } = await sent.answer
        this.#samples.push(ms)
        if (failure || !sent.nonce || !text.includes(sent.nonce)) this.failures.push(`${name}: ${text}`)
      } catch (thrown) {
        this.failures.push(`${name}: ${String(thrown)}`)
      }
      await delay(PAUSE_MS)
    }
  }
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
