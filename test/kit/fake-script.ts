/**
 * What a fake MCP server does, as JSON data. Texts called raw are sent verbatim: `1E400` and
 * `12345678901234567890` survive.
 */
export interface Script {
  /** Default `fake`. */
  readonly name?: string
  readonly version?: string
  readonly instructions?: string
  /** Default `legacy`. */
  readonly eras?: 'legacy' | 'modern' | 'both'
  /** Legacy versions it negotiates, its favourite first. */
  readonly versions?: readonly string[]
  /** Replaces the computed capabilities. */
  readonly capabilities?: Readonly<Record<string, unknown>>
  /**
   * Built-in tools: echo, count, sleep {ms}, whoami, fail, progress {n, ms, gate, after}, log {level, data},
   * ask {method, params}, big {bytes}, exit {code, signal}, announce {kind}. Default all.
   */
  readonly builtins?: boolean | readonly string[]
  readonly tools?: readonly ToolScript[]
  readonly resources?: readonly ResourceScript[]
  readonly resourceTemplates?: readonly TemplateScript[]
  readonly prompts?: readonly PromptScript[]
  /** Items in a page of each list; default all in one. */
  readonly pageSize?: number
  /** Lists whose last page points back to the second one. */
  readonly loop?: readonly string[]
  /** The cursor of the second page is the empty string. */
  readonly emptyCursor?: boolean
  /** Modern cache hint. */
  readonly ttlMs?: number
  readonly faults?: readonly Fault[]

  /** HTTP: `auto` answers in JSON unless something has to be sent before the answer. */
  readonly answers?: 'auto' | 'json' | 'sse'
  /** HTTP, legacy: sessions with `Mcp-Session-Id`; default true. */
  readonly sessions?: boolean
  /** HTTP, legacy: false = 405 on GET. */
  readonly getStream?: boolean

  /** stdio: lines printed at the start. */
  readonly stderr?: readonly string[]
  readonly banner?: readonly string[]
  readonly ignoreSigterm?: boolean
  readonly ignoreStdinEnd?: boolean
  /** stdio: starts a process of its own, which holds the pipes. */
  readonly grandchild?: boolean
  /** Cancellations are recorded, and the work goes on to its answer. */
  readonly ignoreCancel?: boolean
  /** stdio: how lines leave: in pieces of so many bytes, ended by CRLF, after a byte order mark. */
  readonly stdout?: { readonly slice?: number; readonly crlf?: boolean; readonly bom?: boolean }
  /** stdio: puts the environment into the `start` record. */
  readonly recordEnv?: boolean
}

export interface ToolScript {
  readonly name: string
  /** Members of the listed tool besides the name. */
  readonly descriptor?: Readonly<Record<string, unknown>>
  /** Raw text of the listed tool; replaces `descriptor`. */
  readonly raw?: string
  /** Raw result of a call. */
  readonly result?: string
  /** Name of a built-in whose behaviour it has. */
  readonly behaves?: string
  /** What happens in mid-call, in order. Without `result`, the answers to the asks are the result. */
  readonly steps?: readonly Step[]
}

export interface ResourceScript {
  readonly uri: string
  readonly name?: string
  readonly descriptor?: Readonly<Record<string, unknown>>
  readonly raw?: string
  readonly text?: string
  /** Raw result of `resources/read`. */
  readonly result?: string
}

export interface TemplateScript {
  readonly uriTemplate: string
  readonly name?: string
  readonly descriptor?: Readonly<Record<string, unknown>>
  readonly raw?: string
  readonly text?: string
  readonly result?: string
}

export interface PromptScript {
  readonly name: string
  readonly descriptor?: Readonly<Record<string, unknown>>
  readonly raw?: string
  readonly text?: string
  /** Raw result of `prompts/get`. */
  readonly result?: string
}

/** One member a step. */
export interface Step {
  readonly sleep?: number
  /** Waits for `fake.release(gate)`. */
  readonly wait?: string
  readonly progress?: number
  readonly everyMs?: number
  readonly log?: { readonly level?: string; readonly data: unknown }
  readonly notify?: { readonly method: string; readonly params?: unknown }
  readonly ask?: { readonly method: string; readonly params?: unknown }
  readonly announce?: ChangeKind
  /** Announces `resources/updated`. */
  readonly updated?: string
  readonly stderr?: string
  /** So many bytes of lines to stderr, as fast as they are taken. */
  readonly stderrBytes?: number
  /** A raw message that belongs to no request, or to none of this server; `$TOKEN` is the call's progress token. */
  readonly say?: string
}

export type ChangeKind = 'tools' | 'resources' | 'prompts'

export interface Fault {
  /** A method, `*` for all methods, an HTTP verb (any request with it), or `start` (stdio). */
  readonly on: string
  /** Only `tools/call` of this tool. */
  readonly tool?: string
  readonly era?: 'legacy' | 'modern'
  /** Only the page with this cursor; null = the first one. */
  readonly cursor?: string | null
  /** Which occurrences, counted from 1 in each process; default all. */
  readonly calls?: Numbers
  /** stdio: in which starts, counted from 1. */
  readonly spawns?: Numbers
  /** True = the work is not done. Default true for error, http, html, session-lost, result and raw only. */
  readonly before?: boolean
  readonly do: Action
}

export type Numbers = number | readonly number[] | { readonly from?: number; readonly to?: number }

export type Action =
  /** These three go together with one of the others. */
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'stderr'; readonly text: string }
  /** After the answer: change the script, then send list_changed. */
  | { readonly kind: 'announce'; readonly what: ChangeKind; readonly set?: Partial<Script> }
  /** Never answers; `stream` opens an event stream first. */
  | { readonly kind: 'hang'; readonly stream?: boolean }
  | { readonly kind: 'crash'; readonly code?: number; readonly signal?: string; readonly stderr?: string }
  /** stdio: closes stdout and lives on. HTTP: drops the socket without an answer. */
  | { readonly kind: 'close' }
  /** stdio: closes stdin without an answer and lives on. */
  | { readonly kind: 'close-stdin' }
  /** HTTP: TCP reset. */
  | { readonly kind: 'reset' }
  /** Half of the answer, then the end of the socket; on stdio of the process, unless `exit` is false. */
  | {
      readonly kind: 'cut'
      readonly stream?: boolean
      readonly bytes?: number
      readonly exit?: boolean
      readonly code?: number
    }
  | {
      readonly kind: 'http'
      readonly status: number
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: string
    }
  | { readonly kind: 'html'; readonly status?: number }
  | { readonly kind: 'empty' }
  /** stdio: an answer of so many bytes in one line, then LF unless `end` is false. */
  | { readonly kind: 'flood'; readonly bytes: number; readonly end?: boolean }
  /** 202 and nothing more. */
  | { readonly kind: 'accepted' }
  /** An event stream that ends without the answer. */
  | { readonly kind: 'stream-end' }
  /** Forgets the session and says 404. */
  | { readonly kind: 'session-lost' }
  | {
      readonly kind: 'error'
      readonly code: number
      readonly message?: string
      readonly data?: unknown
      readonly status?: number
    }
  /** Another raw result. */
  | { readonly kind: 'result'; readonly raw: string }
  /** Another message altogether; `$ID` stands for the raw id. */
  | { readonly kind: 'raw'; readonly text: string; readonly status?: number }
  /** `id` is raw. */
  | { readonly kind: 'wrong-id'; readonly id?: string }
  | { readonly kind: 'duplicate' }
  /** Both result and error; neither of them. */
  | { readonly kind: 'both' }
  | { readonly kind: 'neither' }
  | { readonly kind: 'unknown-result-type' }
  /** Lines or events that are no answer, then the answer unless `then` is false. */
  | { readonly kind: 'garbage'; readonly text: string; readonly times?: number; readonly then?: boolean }
