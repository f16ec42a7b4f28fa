import {
  approvalCommand,
  canonicalDefinition,
  definitionOf,
  describeDifferences,
  differencesBetween,
  flagsIn,
  publicName,
  revealInvisibles,
  sameBytes,
  sameItems,
} from '../core/catalog/index.js'
import {
  type CatalogFindings,
  type ChangedComponent,
  type Component,
  GatewayError,
  type HeldBecause,
  type Kind,
  type KindCatalog,
  type UpstreamSpec,
} from '../model/index.js'
import { pinIdentityOf } from './catalog-memory.js'
import { PINNED_KINDS, PinBook, textOf } from './pin-book.js'
import type { Host, SavedPin } from './ports.js'

/** How one offered component stands to its pin. */
type Verdict =
  | { readonly kind: 'fine' | 'new' }
  | { readonly kind: 'changed'; readonly what: ChangedComponent }

const FINE: Verdict = { kind: 'fine' }
const NEW: Verdict = { kind: 'new' }

/**
 * Stands between what a server offers and what is used of it. The first sight of a server pins its tools and prompts;
 * what differs later is told of, or held until a person approves it. Nothing is ever rewritten.
 */
export class PinWatch {
  /** Also while nothing is watched: what was approved before is so still when it is again. */
  #kept: PinBook | null = null
  readonly #verdicts = new Map<Kind, ReadonlyMap<string, Verdict>>()
  readonly #offered = new Map<Kind, readonly Component[]>()
  readonly #shown = new Map<Kind, readonly Component[]>()
  readonly #held = new WeakMap<Component, Component>()
  readonly #flags = new WeakMap<Component, string>()
  #findings: CatalogFindings | null = null
  readonly #flagged = new Map<Kind, CatalogFindings['flagged']>()

  constructor(
    private readonly spec: UpstreamSpec,
    private readonly host: Pick<Host, 'clock' | 'memory'>,
    private readonly warn: (message: string) => void,
  ) {
    this.retune()
  }

  /** Its mode may be another one now; the lists have to be admitted again. */
  retune(): void {
    this.#verdicts.clear()
    this.#findings = null
    if (this.spec.pin === 'off' || this.#kept) return
    this.#kept = new PinBook(this.spec, this.host)
    if (this.#kept.lost) this.#begin(this.#kept)
  }

  /** The same server in another version: what a person approved there is approved, and nothing else. */
  inherit(old: PinWatch): void {
    if (old.#kept && pinIdentityOf(old.spec) === pinIdentityOf(this.spec)) this.#kept = old.#kept
  }

  get #book(): PinBook | null {
    return this.spec.pin === 'off' ? null : this.#kept
  }

  /** What of a list may be used. The same object where nothing of it is held. */
  admit(kind: Kind, known: KindCatalog): KindCatalog {
    const items = 'items' in known ? known.items : []
    this.#findings = null
    this.#flag(kind, items)
    if (!this.#book || !PINNED_KINDS.includes(kind) || known.state === 'unknown') return known
    // A list that was never had says nothing about what it would have held.
    if (known.state === 'failed' && !this.#book.hasSeen(kind)) return known
    this.#offered.set(kind, items)
    this.#judge(this.#book, kind, items)
    return this.#expose(kind, known)
  }

  /** What a person should look at. Kept, because it is asked for far more often than it changes. */
  get findings(): CatalogFindings {
    this.#findings ??= this.#find()
    return this.#findings
  }

  #find(): CatalogFindings {
    const verdicts = PINNED_KINDS.flatMap(kind =>
      [...(this.#verdicts.get(kind) ?? [])].map(([key, verdict]) => ({ kind, key, verdict })),
    )
    const changed = verdicts.flatMap(({ verdict }) => (verdict.kind === 'changed' ? [verdict.what] : []))
    const held = verdicts.flatMap(({ kind, key, verdict }) => {
      const because = this.#heldBecause(verdict)
      return because ? [{ kind, key, because }] : []
    })
    return { changed, held, flagged: [...this.#flagged.values()].flat() }
  }

  /**
   * Pins what is offered now in place of what was; the lists have to be admitted again.
   * @param names public or own names; none = everything that waits for it
   * @throws GatewayError INVALID_PARAMS for a name that is not offered
   */
  approve(names: readonly string[]): void {
    const book = this.#book
    if (!book) return
    const offered = PINNED_KINDS.flatMap(kind => firstOfEach(this.#offered.get(kind) ?? []))
    const isNamed = ({ key }: Component, name: string) =>
      key === name || publicName(this.spec.prefix, key) === name
    const unknown = names.filter(name => !offered.some(item => isNamed(item, name)))
    if (unknown.length > 0) throw notOffered(this.spec.name, unknown)
    for (const item of offered) {
      const verdict = this.#verdicts.get(item.kind)?.get(item.key)
      const meant = names.length === 0 || names.some(name => isNamed(item, name))
      if (meant && verdict !== undefined && verdict.kind !== 'fine') this.#pin(book, item)
    }
    book.save()
  }

  /** Pins that cannot be trusted: where they decide, nothing is used before it is approved, after a restart neither. */
  #begin(book: PinBook): void {
    const { name, pin } = this.spec
    if (pin !== 'enforce') return this.warn('its tools and prompts are pinned anew, as it describes them now')
    for (const kind of PINNED_KINDS) book.see(kind)
    book.save()
    this.warn(
      `its pins are lost, so all its tools and prompts are held. Look at them, then: holdfast approve ${name}`,
    )
  }

  #judge(book: PinBook, kind: Kind, items: readonly Component[]): void {
    const takesNew = this.spec.pin === 'warn' || !book.hasSeen(kind)
    const verdicts = new Map<string, Verdict>()
    for (const item of firstOfEach(items)) verdicts.set(item.key, this.#verdictOn(book, item, takesNew))
    this.#tellNew(kind, verdicts)
    this.#verdicts.set(kind, verdicts)
    book.see(kind)
    book.prune(kind, new Set(verdicts.keys()))
    book.save()
  }

  #verdictOn(book: PinBook, item: Component, takesNew: boolean): Verdict {
    const pin = book.find(item)
    if (!pin) {
      if (takesNew) this.#pin(book, item)
      return takesNew ? FINE : NEW
    }
    if (pin.bytes === item.bytes && pin.told === null) return FINE
    if (!sameBytes(pin.bytes, item.bytes)) return this.#compare(book, pin, item)
    if (pin.told === null) book.adopt(pin, item.bytes)
    else book.put({ ...pin, bytes: item.bytes, told: null })
    return FINE
  }

  #compare(book: PinBook, pin: SavedPin, item: Component): Verdict {
    const [before, after] = [definitionOf(textOf(pin.bytes)), definitionOf(textOf(item.bytes))]
    const text = canonicalDefinition(after)
    if (text === canonicalDefinition(before)) {
      book.put({ ...pin, bytes: item.bytes, told: null })
      return FINE
    }
    const hash = book.digest(text)
    const differences = differencesBetween(before, after)
    const at = pin.told?.hash === hash ? pin.told.at : this.host.clock.wallTime()
    const { kind, key } = item
    const changed = differences.map(({ member }) => member)
    const what = { kind, key, changed, diff: describeDifferences(differences), at }
    if (pin.told?.hash !== hash) {
      book.put({ ...pin, told: { hash, at } })
      this.warn(
        `${WORDS[kind]} ${revealInvisibles(key)} is not described as it was: ${what.diff}. ${this.#fixFor(key)}`,
      )
    }
    return { kind: 'changed', what }
  }

  #pin(book: PinBook, item: Component): void {
    const { kind, key, bytes } = item
    book.put({ kind, key, bytes, told: null })
  }

  #tellNew(kind: Kind, verdicts: ReadonlyMap<string, Verdict>): void {
    const before = this.#verdicts.get(kind)
    const fresh = [...verdicts].filter(([key, { kind: word }]) => word === 'new' && before?.get(key) !== NEW)
    if (fresh.length === 0 || this.#book?.lost) return
    const names = fresh.map(([key]) => revealInvisibles(key))
    const more = names.length > 5 ? ` and ${names.length - 5} more` : ''
    this.warn(
      `new ${kind} are held until approved: ${names.slice(0, 5).join(', ')}${more}. To approve: holdfast approve ${this.spec.name}`,
    )
  }

  #fixFor(key: string): string {
    const fix = approvalCommand(this.spec.name, this.spec.prefix, key)
    return this.spec.pin === 'enforce' ? `It is held until approved: ${fix}` : `To accept it: ${fix}`
  }

  #heldBecause(verdict: Verdict | undefined): HeldBecause | null {
    if (this.spec.pin !== 'enforce' || !verdict || verdict.kind === 'fine') return null
    return verdict.kind
  }

  #expose(kind: Kind, known: KindCatalog): KindCatalog {
    if (!('items' in known)) return known
    const verdicts = this.#verdicts.get(kind)
    const items = known.items.map(item => this.#withHold(item, this.#heldBecause(verdicts?.get(item.key))))
    if (sameItems(known.items, items)) return known
    const before = this.#shown.get(kind)
    const shown = before && sameItems(before, items) ? before : items
    this.#shown.set(kind, shown)
    return { ...known, items: shown }
  }

  #withHold(item: Component, because: HeldBecause | null): Component {
    if (because === null) return item
    const known = this.#held.get(item)
    if (known?.held === because) return known
    const held: Component = { ...item, held: because }
    this.#held.set(item, held)
    return held
  }

  // ---- what hides in definitions --------------------------------------------------------------------------

  #flag(kind: Kind, items: readonly Component[]): void {
    const told = new Set(this.#flagged.get(kind)?.map(({ key, detail }) => JSON.stringify([key, detail])))
    const flagged = items.flatMap(item => {
      const detail = this.#detailOf(item)
      return detail === '' ? [] : [{ kind, key: item.key, detail }]
    })
    this.#flagged.set(kind, flagged)
    for (const { key, detail } of flagged) {
      if (!told.has(JSON.stringify([key, detail])))
        this.warn(`${WORDS[kind]} ${revealInvisibles(key)} holds characters that nobody sees: ${detail}`)
    }
  }

  #detailOf(item: Component): string {
    let detail = this.#flags.get(item)
    if (detail === undefined) {
      const flags = flagsIn(textOf(item.bytes))
      detail = flags.map(({ member, characters }) => `${characters.join(', ')} in ${member}`).join('; ')
      this.#flags.set(item, detail)
    }
    return detail
  }
}

/** Of two with one name the second is never used. */
function firstOfEach(items: readonly Component[]): readonly Component[] {
  const first = new Map<string, Component>()
  for (const item of items) if (!first.has(item.key)) first.set(item.key, item)
  return [...first.values()]
}

const WORDS: Readonly<Record<Kind, string>> = {
  tools: 'tool',
  prompts: 'prompt',
  resources: 'resource',
  resourceTemplates: 'resource template',
}

function notOffered(upstream: string, names: readonly string[]): GatewayError {
  const list = names.map(name => JSON.stringify(name)).join(', ')
  return new GatewayError('INVALID_PARAMS', `${upstream} offers no tool or prompt named ${list}.`, {
    upstream,
  })
}
