import type { Dice } from '../dice.js'
import type { World } from '../world.js'

/** What may go wrong with one request; each kind of server knows some of them. */
export type RequestFault =
  | 'hang'
  | 'late'
  | 'twice'
  | 'other-id'
  | 'text-id'
  | 'both-members'
  | 'garbage'
  | 'die-before'
  | 'die-after'
  | 'half'
  | 'status-before'
  | 'status-after'
  | 'rate'
  | 'lost-session'
  | 'html'
  | 'empty'
  | 'reset-before'
  | 'reset-after'
  | 'fin'

/** What a server does in the world at this moment, and what goes wrong with its next request. */
export interface Mood {
  /** `mute` = runs and takes everything, answers nothing. */
  readonly condition: 'well' | 'down' | 'mute' | 'hole' | 'missing'
  faultFor(method: string, known: readonly RequestFault[]): RequestFault | null
  /** Its answer, in which it asks to be left alone until then, has arrived; `isCall`: it was the answer to a call. */
  asksForRest(until: number, isCall: boolean, asDate: boolean): void
}

export interface Message {
  readonly id?: unknown
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: unknown
  readonly error?: unknown
}

/** One request as work: what it does, when, and what is said at its end. */
export interface Job {
  readonly nonce: string
  /** Null where there is no side effect to count. */
  readonly effect: boolean
  /** The effect comes at once; else just before the answer. */
  readonly effectFirst: boolean
  readonly ms: number
  readonly progress: number
  readonly asks: boolean
  readonly result: Record<string, unknown>
}

export const TOOLS = ['act', 'again', 'look', 'slow', 'chatty', 'grumble', 'ask'] as const
export type Tool = (typeof TOOLS)[number] | 'flicker'

export const CALLS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read'])

export const QUESTION = { message: 'Go on?', requestedSchema: { type: 'object', properties: {} } }

const CAPABILITIES = { tools: { listChanged: true }, prompts: { listChanged: true }, resources: {} }

/** What a server offers and remembers; it outlives the process or the connections that serve it. */
export class App {
  /** The tool that comes and goes. */
  flickers = false
  readonly #dice: Dice

  constructor(
    readonly world: World,
    readonly name: string,
    readonly era: 'legacy' | 'modern',
  ) {
    this.#dice = world.dice(`app ${name}`)
  }

  get dice(): Dice {
    return this.#dice
  }

  /** The answer to a message about the server itself; null when it is work. */
  about(message: Message): Record<string, unknown> | null {
    const complete = this.era === 'modern' ? { resultType: 'complete' } : {}
    switch (message.method) {
      case 'initialize':
        if (this.era === 'modern') return refusal(-32601, 'Method not found')
        return {
          result: {
            protocolVersion: '2025-11-25',
            capabilities: CAPABILITIES,
            serverInfo: { name: this.name, version: '1' },
          },
        }
      case 'server/discover':
        if (this.era === 'legacy') return refusal(-32601, 'Method not found')
        return {
          result: {
            ...complete,
            supportedVersions: ['2026-07-28'],
            capabilities: CAPABILITIES,
            _meta: { 'io.modelcontextprotocol/serverInfo': { name: this.name, version: '1' } },
          },
        }
      case 'ping':
        return { result: {} }
      case 'tools/list':
        return { result: { ...complete, tools: this.tools().map(name => this.#describe(name)) } }
      case 'prompts/list':
        return { result: { ...complete, prompts: [{ name: 'greet', arguments: [{ name: 'nonce' }] }] } }
      case 'resources/list':
        return { result: { ...complete, resources: [{ uri: 'mem://doc', name: 'doc' }] } }
      case 'resources/templates/list':
        return { result: { ...complete, resourceTemplates: [] } }
      case 'tools/call':
      case 'prompts/get':
      case 'resources/read':
        return null
      default:
        return refusal(-32601, 'Method not found')
    }
  }

  /** The modern way to ask: the call ends with questions, and comes again with the answers. */
  needsInput({ method, params }: Message): Record<string, unknown> | null {
    if (this.era === 'legacy' || method !== 'tools/call' || params?.['name'] !== 'ask') return null
    const meta = params['_meta'] as Record<string, Record<string, unknown>> | undefined
    const canAsk = meta?.['io.modelcontextprotocol/clientCapabilities']?.['elicitation'] !== undefined
    if (!canAsk || params['inputResponses'] !== undefined) return null
    const question = { method: 'elicitation/create', params: QUESTION }
    return { result: { resultType: 'input_required', inputRequests: { go: question } } }
  }

  tools(): readonly Tool[] {
    return this.flickers ? [...TOOLS, 'flicker'] : TOOLS
  }

  job({ method, params }: Message): Job {
    const dice = this.#dice
    const tool = method === 'tools/call' ? (params?.['name'] as Tool) : null
    const nonce = nonceOf(method, params)
    const said = `${nonce}@${this.name}`
    const isSlow = tool === 'slow' || tool === 'chatty'
    const ms = isSlow ? dice.between(200, 12_000) : dice.between(0, 30)
    return {
      nonce,
      effect: tool !== null,
      effectFirst: dice.chance(0.5),
      ms,
      progress: tool === 'chatty' ? dice.between(1, 4) : 0,
      asks: tool === 'ask',
      result: {
        ...resultFor(method, said, tool),
        ...(this.era === 'modern' ? { resultType: 'complete' } : {}),
      },
    }
  }

  called({ method, params }: Message): void {
    this.world.note({ kind: 'called', upstream: this.name, nonce: nonceOf(method, params) })
  }

  died(): void {
    this.world.note({ kind: 'died', upstream: this.name })
  }

  ran(nonce: string): void {
    this.world.note({ kind: 'effect', upstream: this.name, nonce })
  }

  #describe(name: Tool): Record<string, unknown> {
    const annotations = name === 'look' ? { annotations: { readOnlyHint: true } } : {}
    return { name, inputSchema: { type: 'object' }, ...annotations }
  }
}

export function refusal(code: number, message: string): Record<string, unknown> {
  return { error: { code, message } }
}

/** Of every call in what goes to a server. */
export function noncesIn(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes).toString('utf8')
  return [...text.matchAll(/"nonce":"(n\d+)"/g)].flatMap(([, nonce]) => nonce ?? [])
}

function nonceOf(method: string | undefined, params: Record<string, unknown> | undefined): string {
  const from = (method === 'resources/read' ? params?.['_meta'] : params?.['arguments']) as
    | Record<string, unknown>
    | undefined
  return String(from?.['nonce'])
}

function resultFor(method: string | undefined, said: string, tool: Tool | null): Record<string, unknown> {
  if (method === 'resources/read') return { contents: [{ uri: 'mem://doc', text: said }] }
  if (method === 'prompts/get') return { messages: [{ role: 'user', content: { type: 'text', text: said } }] }
  return { content: [{ type: 'text', text: said }], ...(tool === 'grumble' ? { isError: true } : {}) }
}
