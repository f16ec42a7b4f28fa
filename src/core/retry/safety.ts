/**
 * What a second run of a request would mean.
 * - `harmless`: lists, reads, prompts, completions, pings: nothing happens by them.
 * - `idempotent`: a tool that the configuration vouches for.
 * - `unsafe`: everything else. It may have run whenever it was sent.
 */
export type Safety = 'harmless' | 'idempotent' | 'unsafe'

const HARMLESS: ReadonlySet<string> = new Set([
  'server/discover',
  'initialize',
  'ping',
  'tools/list',
  'resources/list',
  'resources/templates/list',
  'prompts/list',
  'tasks/get',
  'completion/complete',
  'resources/read',
  'prompts/get',
])

/** What a server says about one of its tools; hints only, and untrusted by default. */
export interface ToolHints {
  readonly readOnly?: unknown
  readonly idempotent?: unknown
  readonly destructive?: unknown
}

export interface SafetyFacts {
  readonly method: string
  /** The params carry answers to a server's questions: a continuation of a call that already began. */
  readonly continues: boolean
  /** The configuration names the tool as idempotent. */
  readonly named: boolean
  /** The configuration trusts what the server says about its tools. */
  readonly trusted: boolean
  readonly hints: ToolHints | null
}

/** Never guessed from a name; contradictory hints fail closed. */
export function safetyOf(facts: SafetyFacts): Safety {
  if (facts.continues) return 'unsafe'
  if (HARMLESS.has(facts.method)) return 'harmless'
  if (facts.method !== 'tools/call') return 'unsafe'
  if (facts.named) return 'idempotent'
  return facts.trusted && facts.hints !== null && areSafe(facts.hints) ? 'idempotent' : 'unsafe'
}

function areSafe({ readOnly, idempotent, destructive }: ToolHints): boolean {
  if (readOnly === true) return destructive !== true && idempotent !== false
  return idempotent === true
}
