import { type Bytes, type Component, type Kind, LIMITS, type UpstreamSpec } from '../model/index.js'
import { pinIdentityOf } from './catalog-memory.js'
import type { Host, SavedPin } from './ports.js'

/** The kinds that a model is told to use, and so the ones that are worth changing behind its back. */
export const PINNED_KINDS: readonly Kind[] = ['tools', 'prompts']

/** The pins of one server, in memory and on disk. */
export class PinBook {
  /** True when there were pins that cannot be trusted any more. */
  readonly lost: boolean
  readonly #id: string | null
  readonly #pins = new Map<Kind, Map<string, SavedPin>>()
  readonly #seen = new Set<Kind>()
  #dirty = false

  constructor(
    spec: UpstreamSpec,
    private readonly host: Pick<Host, 'memory'>,
  ) {
    const { memory } = host
    this.#id = memory?.digest(pinIdentityOf(spec)) ?? null
    const saved = this.#id === null ? null : (memory?.pins.load(this.#id, spec.name) ?? null)
    this.lost = saved === 'lost'
    if (saved === null || saved === 'lost') return
    for (const kind of saved.kinds) this.#seen.add(kind)
    for (const pin of saved.pins) this.#of(pin.kind).set(pin.key, pin)
  }

  hasSeen(kind: Kind): boolean {
    return this.#seen.has(kind)
  }

  see(kind: Kind): void {
    if (this.#seen.has(kind)) return
    this.#seen.add(kind)
    this.#dirty = true
  }

  find({ kind, key }: Component): SavedPin | undefined {
    return this.#of(kind).get(key)
  }

  put(pin: SavedPin): void {
    this.#of(pin.kind).set(pin.key, pin)
    this.#dirty = true
  }

  /** The same bytes in another place, so that they are not twice in memory. */
  adopt(pin: SavedPin, bytes: Bytes): void {
    this.#of(pin.kind).set(pin.key, { ...pin, bytes })
  }

  /** Of what is not offered any more the newest are kept: it may come back as something else. */
  prune(kind: Kind, offered: ReadonlySet<string>): void {
    const pins = this.#of(kind)
    let excess = pins.size - offered.size - LIMITS.removedPins
    for (const key of pins.keys()) {
      if (excess <= 0) return
      if (offered.has(key)) continue
      pins.delete(key)
      excess -= 1
    }
  }

  /** If anything changed since the last time. */
  save(): void {
    if (this.#id === null || !this.#dirty) return
    this.#dirty = false
    const pins = [...this.#pins.values()].flatMap(each => [...each.values()])
    this.host.memory?.pins.save(this.#id, { kinds: [...this.#seen], pins })
  }

  /** Names a definition that was told of. */
  digest(text: string): string {
    return this.host.memory?.digest(text) ?? text
  }

  #of(kind: Kind): Map<string, SavedPin> {
    let pins = this.#pins.get(kind)
    if (!pins) {
      pins = new Map()
      this.#pins.set(kind, pins)
    }
    return pins
  }
}

export function textOf(bytes: Bytes): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
}
