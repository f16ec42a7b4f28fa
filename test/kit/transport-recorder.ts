import type { Timeouts } from '../../src/model/index.js'
import type { TransportEvents, TransportFault } from '../../src/upstream/transport.js'
import { PATIENCE_MS } from './until.js'

export const TIMEOUTS: Timeouts = {
  connect: 2_000,
  start: 3_000,
  request: 5_000,
  total: 10_000,
  list: 5_000,
  listTotal: 10_000,
}

export type TransportEvent =
  | { readonly kind: 'message'; readonly text: string; readonly source: number | null; readonly at: number }
  | {
      readonly kind: 'ended'
      readonly id: number
      readonly fault: TransportFault | null
      readonly at: number
    }
  | { readonly kind: 'closed'; readonly fault: TransportFault; readonly at: number }
  | { readonly kind: 'noise'; readonly text: string; readonly at: number }
  | { readonly kind: 'stderr'; readonly text: string; readonly at: number }

type Of<K extends TransportEvent['kind']> = Extract<TransportEvent, { kind: K }>

/** Writes down what a transport tells, in order, and waits for what is still to come. */
export class TransportRecorder implements TransportEvents {
  readonly log: TransportEvent[] = []
  readonly #waiting = new Set<() => void>()

  message(bytes: Uint8Array, source: number | null): void {
    this.#add({ kind: 'message', text: Buffer.from(bytes).toString(), source, at: performance.now() })
  }
  ended(id: number, fault: TransportFault | null): void {
    this.#add({ kind: 'ended', id, fault, at: performance.now() })
  }
  closed(fault: TransportFault): void {
    this.#add({ kind: 'closed', fault, at: performance.now() })
  }
  noise(text: string): void {
    this.#add({ kind: 'noise', text, at: performance.now() })
  }
  stderr(text: string): void {
    this.#add({ kind: 'stderr', text, at: performance.now() })
  }

  all<K extends TransportEvent['kind']>(kind: K): Of<K>[] {
    return this.log.filter((event): event is Of<K> => event.kind === kind)
  }

  /** The n-th event of a kind. */
  async next<K extends TransportEvent['kind']>(kind: K, nth = 1, withinMs = PATIENCE_MS): Promise<Of<K>> {
    await this.until(() => this.all(kind).length >= nth, withinMs)
    return this.all(kind)[nth - 1] as Of<K>
  }

  async endedOf(id: number): Promise<Of<'ended'>> {
    const find = () => this.all('ended').find(event => event.id === id)
    await this.until(() => find() !== undefined)
    return find() as Of<'ended'>
  }

  until(holds: () => boolean, withinMs = PATIENCE_MS): Promise<void> {
    if (holds()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!holds()) return
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve()
      }
      const timer = setTimeout(() => {
        this.#waiting.delete(look)
        reject(new Error(`It did not happen in ${withinMs} ms. So far: ${JSON.stringify(this.log)}`))
      }, withinMs)
      this.#waiting.add(look)
    })
  }

  #add(event: TransportEvent): void {
    this.log.push(event)
    for (const look of [...this.#waiting]) look()
  }
}
