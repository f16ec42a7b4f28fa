import type { HttpSpec, StdioSpec } from '../../../src/model/index.js'
import type { Message } from '../models/app.js'
import type { Site, SiteAnswer, SiteRequest } from '../virtual-dialer.js'
import type { Program, VirtualProcess } from '../virtual-process.js'

/** What one version of a server is: it stands in the arguments, or in a header, with which it is started. */
export interface Version {
  readonly name: string
  readonly mark: string
  /** `late` = longer than a reload waits. */
  readonly start: 'well' | 'slow' | 'late' | 'crash' | 'hang'
  readonly tools: readonly string[]
  readonly resources: readonly string[]
  readonly prompts: readonly string[]
}

const START_MS: Readonly<Record<string, number>> = { slow: 1_500, late: 13_000 }
const MARK_HEADER = 'x-version'

export const isBroken = ({ start }: Version): boolean => start === 'crash' || start === 'hang'

/** The words by which a process or an address is known: equal ones run the same. */
export function identityOf(transport: StdioSpec | HttpSpec): string {
  if (transport.kind === 'stdio') return JSON.stringify([transport.args, transport.env])
  return JSON.stringify([transport.url, transport.headers[MARK_HEADER]])
}

export function stdioOf(version: Version, env: Readonly<Record<string, string>>): StdioSpec {
  return { kind: 'stdio', command: 'server', args: [JSON.stringify(version)], env }
}

export function httpOf(version: Version, kind: 'http' | 'auto'): HttpSpec {
  const headers = { [MARK_HEADER]: JSON.stringify(version) }
  return { kind, url: `http://${version.name}.test/mcp`, headers }
}

export function versionOf(transport: StdioSpec | HttpSpec): Version {
  const text = transport.kind === 'stdio' ? transport.args[0] : transport.headers[MARK_HEADER]
  return JSON.parse(text ?? '') as Version
}

/** What it answers; undefined = nothing. */
function answerOf(version: Version, identity: string, { method, params }: Message): object | undefined {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: '2025-11-25',
        capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
        serverInfo: { name: version.name, version: version.mark },
        instructions: `of ${version.mark}`,
      }
    case 'tools/list':
      return { tools: version.tools.map(name => ({ name, inputSchema: { type: 'object' } })) }
    case 'prompts/list':
      return { prompts: version.prompts.map(name => ({ name })) }
    case 'resources/list':
      return { resources: version.resources.map(name => ({ uri: `mem://${name}`, name })) }
    case 'resources/templates/list':
      return { resourceTemplates: [{ uriTemplate: `${version.mark}://{x}`, name: 'any' }] }
    case 'resources/read':
      return { contents: [{ uri: params?.['uri'], text: identity }] }
    case 'tools/call':
      return { content: [{ type: 'text', text: `${String(params?.['name'])} of ${identity}` }] }
    case 'prompts/get':
      return { messages: [{ role: 'user', content: { type: 'text', text: identity } }] }
    case 'ping':
    case 'resources/subscribe':
    case 'resources/unsubscribe':
      return {}
    default:
      return undefined
  }
}

function reply(version: Version, identity: string, message: Message): object {
  const result = answerOf(version, identity, message)
  const error = { code: -32601, message: 'Method not found' }
  return { jsonrpc: '2.0', id: message.id, ...(result ? { result } : { error }) }
}

/** One version as a program. */
export class VersionProgram implements Program {
  #process: VirtualProcess | null = null

  constructor(
    private readonly version: Version,
    private readonly identity: string,
  ) {}

  begin(process: VirtualProcess): void {
    this.#process = process
    if (this.version.start === 'crash') process.exit(1)
  }

  line(text: string): void {
    const message = JSON.parse(text) as Message
    const { start } = this.version
    if (start === 'hang' || message.id === undefined || message.method === undefined) return
    const say = () => this.#process?.say(reply(this.version, this.identity, message))
    const startMs = START_MS[start]
    if (startMs && message.method === 'initialize') this.#process?.after(startMs, say)
    else say()
  }

  inputEnd(): void {
    this.#process?.after(3, () => this.#process?.exit(0))
  }

  terminates(): boolean {
    return true
  }
}

/** Every version of one remote server: its address serves whichever the request asks for. */
export class VersionSite implements Site {
  readonly door = 'open'

  constructor(
    private readonly url: string,
    private readonly after: (ms: number, fn: () => void) => void,
  ) {}

  serve(request: SiteRequest, answer: SiteAnswer): void {
    const mark = request.headers[MARK_HEADER] ?? ''
    const version = JSON.parse(mark) as Version
    if (version.start === 'hang') return
    if (version.start === 'crash') return refuse(answer, 503)
    if (request.method !== 'POST') return refuse(answer, 405)
    const message = JSON.parse(request.body) as Message
    if (message.id === undefined) return refuse(answer, 202)
    const say = () => {
      answer.headers(200, { 'content-type': 'application/json' })
      answer.data(JSON.stringify(reply(version, JSON.stringify([this.url, mark]), message)))
      answer.end()
    }
    const startMs = START_MS[version.start]
    if (startMs && message.method === 'initialize') this.after(startMs, say)
    else say()
  }
}

function refuse(answer: SiteAnswer, status: number): void {
  answer.headers(status)
  answer.end()
}
