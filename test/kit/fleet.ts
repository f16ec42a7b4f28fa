import { type Fake, type FakeOptions, type ServerEntry, startFake } from './fake-mcp.js'

/** One server as a config file of some moment has it. */
export interface Placed {
  readonly name: string
  /** Another one is another process, or session. */
  readonly revision: number
  readonly prefix: string
  readonly timeoutMs: number
  /** Its tool `spare` is not offered. */
  readonly hidesSpare: boolean
  /** Further options. */
  readonly wish?: Readonly<Record<string, unknown>>
}

/** What a config file of some moment has, in its order. */
export type Layout = readonly Placed[]

export const TOOLS = ['echo', 'slow', 'spare'] as const
/** Long enough for an edit to fall into it. */
const SLOW_MS = 250

const KINDS: readonly Pick<FakeOptions, 'transport' | 'script'>[] = [
  { transport: 'stdio' },
  { transport: 'stdio' },
  { transport: 'http', script: { eras: 'legacy' } },
  { transport: 'stdio' },
  { transport: 'http', script: { eras: 'modern' } },
  { transport: 'stdio', script: { eras: 'modern' } },
  { transport: 'stdio' },
  { transport: 'sse' },
  { transport: 'stdio' },
  { transport: 'http', script: { eras: 'legacy', answers: 'sse' } },
]

/** Servers of every transport and era, most of them on stdio. */
export class Fleet {
  private constructor(readonly fakes: ReadonlyMap<string, Fake>) {}

  static async start(size: number): Promise<Fleet> {
    const fakes = new Map<string, Fake>()
    for (let at = 0; at < size; at += 1) {
      const { transport = 'stdio', script } = KINDS[at % KINDS.length] ?? {}
      fakes.set(`s${at}`, await startFake({ transport, script: { ...script, ...offering(`s${at}`) } }))
    }
    return new Fleet(fakes)
  }

  fake(name: string): Fake {
    const fake = this.fakes.get(name)
    if (!fake) throw new Error(`The fleet has no ${name}.`)
    return fake
  }

  /** Sessions that were opened there; null for a server that has none. */
  sessions(name: string): number | null {
    const { transport, records, script } = this.fake(name)
    return transport === 'stdio' || script.eras === 'modern' ? null : records.sessions.length
  }

  text(layout: Layout, indent?: number): string {
    const mcpServers = Object.fromEntries(layout.map(placed => [placed.name, this.entry(placed)]))
    return JSON.stringify({ mcpServers }, null, indent)
  }

  /** How often each nonce ran, and where. */
  runs(): ReadonlyMap<string, readonly string[]> {
    const runs = new Map<string, string[]>()
    for (const [name, { records }] of this.fakes) {
      for (const { args } of records.ofKind('run')) {
        const { nonce = '' } = JSON.parse(args ?? '{}') as { nonce?: string }
        runs.set(nonce, [...(runs.get(nonce) ?? []), name])
      }
    }
    return runs
  }

  async stop(): Promise<void> {
    await Promise.all([...this.fakes.values()].map(fake => fake.stop()))
  }

  entry({ name, revision, prefix, timeoutMs, hidesSpare, wish }: Placed): ServerEntry {
    const { entry, script } = this.fake(name)
    const mark = String(revision)
    return {
      ...entry,
      ...(entry.command ? { env: { REVISION: mark } } : { headers: { 'x-revision': mark } }),
      holdfast: {
        ...wish,
        prefix,
        requestTimeout: `${timeoutMs}ms`,
        // On a busy machine the silence of a child that starts must not be taken for a legacy server's.
        ...(script.eras === 'modern' ? { era: 'modern' } : {}),
        ...(hidesSpare ? { tools: { deny: ['spare'] } } : {}),
      },
    }
  }
}

export function placed(name: string): Placed {
  return { name, revision: 0, prefix: name, timeoutMs: 30_000, hidesSpare: false }
}

/** Public names of the tools, with the server of each. */
export function toolsIn(layout: Layout): ReadonlyMap<string, string> {
  return new Map(
    layout.flatMap(({ name, prefix, hidesSpare }) =>
      TOOLS.filter(tool => tool !== 'spare' || !hidesSpare).map(
        tool => [`${prefix}__${tool}`, name] as const,
      ),
    ),
  )
}

function offering(name: string) {
  return {
    name,
    builtins: ['echo'],
    tools: [
      { name: 'slow', steps: [{ sleep: SLOW_MS }], behaves: 'echo' },
      { name: 'spare', behaves: 'echo' },
    ],
  }
}
