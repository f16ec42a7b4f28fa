import { isDeepStrictEqual } from 'node:util'
import { pick, shuffled } from '../kit/dice.js'
import { type Layout, type Placed, placed, toolsIn } from '../kit/fleet.js'
import type { Aim, Told } from '../kit/load-client.js'

const FEWEST = 16

/** Edits of a config, each another one than all before it. */
export class Editor {
  #serial = 0

  constructor(
    private readonly names: readonly string[],
    private readonly random: () => number,
  ) {}

  /** One or a few changes at once. */
  edit(layout: Layout): Layout {
    const changes = this.random() < 0.25 ? 3 : 1
    let edited = layout
    for (let at = 0; at < changes; at += 1) edited = this.#change(edited)
    return isDeepStrictEqual(edited, layout) ? this.edit(layout) : edited
  }

  #change(layout: Layout): Layout {
    const serial = ++this.#serial
    const away = this.names.filter(name => !layout.some(placed => placed.name === name))
    const kinds: readonly (() => Layout)[] = [
      ...(away.length > 0 ? [() => this.#insert(layout, placed(pick(away, this.random)))] : []),
      ...(layout.length > FEWEST ? [() => this.#remove(layout)] : []),
      () => this.#alter(layout, () => ({ revision: serial })),
      () => this.#alter(layout, () => ({ timeoutMs: 30_000 + serial })),
      () => this.#alter(layout, ({ name }) => ({ prefix: `${name}v${serial}` })),
      () => this.#alter(layout, ({ hidesSpare }) => ({ hidesSpare: !hidesSpare })),
      () => shuffled(layout, this.random),
    ]
    return pick(kinds, this.random)()
  }

  #insert(layout: Layout, fresh: Placed): Layout {
    const at = Math.floor(this.random() * (layout.length + 1))
    return [...layout.slice(0, at), { ...fresh, revision: this.#serial }, ...layout.slice(at)]
  }

  #remove(layout: Layout): Layout {
    const gone = pick(layout, this.random)
    return layout.filter(placed => placed !== gone)
  }

  #alter(layout: Layout, part: (placed: Placed) => Partial<Placed>): Layout {
    const old = pick(layout, this.random)
    return layout.map(placed => (placed === old ? { ...old, ...part(old) } : placed))
  }
}

/** What the file had, one after the other, and how far the gateway is known to be with it. */
export class History {
  readonly layouts: Layout[]
  readonly #tools: ReadonlyMap<string, string>[]
  /** Taken over for certain. */
  applied = 0

  constructor(first: Layout) {
    this.layouts = [first]
    this.#tools = [toolsIn(first)]
  }

  get last(): Layout {
    return this.layouts.at(-1) ?? []
  }

  /** Before it is written. */
  add(layout: Layout): void {
    this.layouts.push(layout)
    this.#tools.push(toolsIn(layout))
  }

  settle(): void {
    this.applied = this.layouts.length - 1
  }

  /** Layouts that were written since then, and the one before. */
  since(index: number): readonly Layout[] {
    return this.layouts.slice(index)
  }

  /** A tool that is offered, unless an edit takes it away meanwhile; some clients go by an older list. */
  aim(random: () => number, ended: (call: Ended) => void): Aim {
    const from = Math.max(0, this.applied - (random() < 0.1 ? 1 : 0))
    const [tool, upstream] = pick([...(this.#tools[from] ?? [])], random)
    const taken = () => this.#tools.slice(from).some(tools => !tools.has(tool))
    return { upstream, tool, ended: told => ended({ told, taken: taken() }) }
  }
}

export interface Ended {
  readonly told: Told
  /** An edit took its name away between its sending and its end. */
  readonly taken: boolean
}

/** What is wrong about calls, by what their servers did. */
export function wrongIn(
  calls: readonly Ended[],
  runs: ReadonlyMap<string, readonly string[]>,
): readonly string[] {
  return calls.flatMap(({ told, taken }) => {
    const { nonce, upstream, tool, answers, outcome, reason } = told
    const ran = runs.get(nonce) ?? []
    const isDone = outcome === 'done' && ran.length === 1 && ran[0] === upstream
    const isRefused = taken && isRemoval(told) && ran.length === 0
    const facts = `${nonce} of ${tool}: ${answers} answers, ${outcome} (${reason}), ran at [${ran.join()}]`
    return answers === 1 && (isDone || isRefused) ? [] : [`${facts}${taken ? ', name taken away' : ''}`]
  })
}

/** Its server was removed, or has the name no more. */
function isRemoval({ outcome, reason }: Told): boolean {
  if (outcome === 'unavailable') return reason === 'removed from the configuration'
  return outcome === 'not_found' || outcome === 'error -32602'
}
