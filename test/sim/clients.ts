import { PassThrough, Writable } from 'node:stream'
import { createStdioFace, type StdioFace } from '../../src/downstream/index.js'
import type { Call } from '../../src/model/index.js'
import type { GatewayCore, Host, RunningCall } from '../../src/runtime/ports.js'
import { json, objectAt } from '../../src/wire/index.js'
import { readAnswer, readOutcome } from './answers.js'
import type { Wish } from './client-wish.js'
import type { Dice } from './dice.js'
import type { Message } from './models/app.js'
import type { World } from './world.js'

export interface ClientRoom {
  readonly world: World
  readonly core: GatewayCore
  readonly host: Host
}

/** Somebody who uses the gateway. */
export interface Client {
  readonly name: string
  /** @returns the id under which it went out */
  ask(wish: Wish): string
  cancel(id: string): void
  /** Goes away without a word. */
  leave(): void
  readonly gone: boolean
}

const ACCEPT = { result: { action: 'accept', content: {} } }
const DECLINE = { error: { code: 1, message: 'no' } }
const KEY = 'io.modelcontextprotocol/'

function noteSent({ world }: ClientRoom, client: string, id: string, wish: Wish): void {
  const { nonce, method, upstream, tool, retry, withinMs } = wish
  const deadline = world.now + withinMs
  world.note({ kind: 'sent', client, id, nonce, method, upstream, tool, retry, deadline })
}

export interface LineTraits {
  readonly era: 'legacy' | 'modern'
  readonly canBeAsked: boolean
  /** Ids as strings. */
  readonly textIds: boolean
}

/** A client on a pipe, of either era; its ids start at 0, like everybody's. */
export class LineClient implements Client {
  gone = false
  readonly #input = new PassThrough()
  readonly #face: StdioFace
  readonly #dice: Dice
  #nextId = 0
  #rest = ''

  constructor(
    private readonly room: ClientRoom,
    readonly name: string,
    private readonly traits: LineTraits,
  ) {
    this.#dice = room.world.dice(`client ${name}`)
    const output = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.#read(chunk.toString('utf8'))
        done()
      },
    })
    this.#face = createStdioFace(room.core, room.host, { input: this.#input, output })
    if (traits.era === 'legacy') this.#greet()
  }

  ask(wish: Wish): string {
    const id = this.#takeId()
    const { method } = wish
    const meta = {
      ...(wish.params['_meta'] as object | undefined),
      ...(wish.wantsProgress ? { progressToken: `p-${wish.nonce}` } : {}),
      ...(this.traits.era === 'modern' ? this.#modernMeta() : {}),
    }
    const hasMeta = Object.keys(meta).length > 0
    const params = { ...wish.params, ...(hasMeta ? { _meta: meta } : {}) }
    const isPing = method === 'ping' && this.traits.era === 'modern'
    noteSent(this.room, this.name, JSON.stringify(id), wish)
    this.#write({ jsonrpc: '2.0', id, method: isPing ? 'server/discover' : method, params })
    return JSON.stringify(id)
  }

  cancel(id: string): void {
    if (this.gone) return
    this.room.world.note({ kind: 'cancelled', client: this.name, id })
    this.#write({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: JSON.parse(id) } })
  }

  leave(): void {
    if (this.gone) return
    this.gone = true
    this.room.world.note({ kind: 'left', client: this.name })
    this.#input.end()
  }

  /** What the composition root does to a face at the end. */
  close(): void {
    this.#face.close()
  }

  #greet(): void {
    const capabilities = this.traits.canBeAsked ? { elicitation: {} } : {}
    const wish: Wish = {
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities, clientInfo: { name: this.name, version: '1' } },
      nonce: this.name,
      upstream: null,
      tool: null,
      retry: 'free',
      wantsProgress: false,
      withinMs: 100,
    }
    this.ask(wish)
    this.#write({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }

  #modernMeta(): Record<string, unknown> {
    return { [`${KEY}protocolVersion`]: '2026-07-28', [`${KEY}clientCapabilities`]: {} }
  }

  #takeId(): number | string {
    const id = this.#nextId++
    return this.traits.textIds ? String(id) : id
  }

  #write(message: object): void {
    if (!this.#input.writableEnded) this.#input.write(`${JSON.stringify(message)}\n`)
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() ?? ''
    for (const line of lines) this.#message(JSON.parse(line) as Message)
  }

  #message(message: Message): void {
    const { world } = this.room
    const { id, method, params } = message
    if (method === undefined) {
      world.note({ kind: 'answer', client: this.name, id: JSON.stringify(id), answer: readAnswer(message) })
    } else if (id !== undefined) this.#asked(id, method)
    else if (method === 'notifications/progress') {
      const { progressToken, message: nonce } = params as { progressToken: unknown; message: unknown }
      world.note({ kind: 'progress', client: this.name, token: String(progressToken), nonce: String(nonce) })
    } else if (!/^notifications\/\w+\/list_changed$/.test(method)) {
      world.note({ kind: 'odd', client: this.name, what: method })
    }
  }

  #asked(id: unknown, method: string): void {
    const { world } = this.room
    if (!this.traits.canBeAsked || method !== 'elicitation/create') {
      return world.note({ kind: 'odd', client: this.name, what: `asked for ${method}` })
    }
    const reply = this.#dice.weighted({ accepts: 8, declines: 1, ignores: 1 })
    world.note({ kind: 'asked', client: this.name, reply })
    if (reply === 'ignores') return
    const said = reply === 'accepts' ? ACCEPT : DECLINE
    world.after(this.#dice.between(0, 2_000), () => this.#write({ jsonrpc: '2.0', id, ...said }))
  }
}

/** A program that calls the core itself, as the library and the HTTP face do. */
export class CoreClient implements Client {
  gone = false
  readonly #running = new Map<string, RunningCall>()
  #nextId = 0

  constructor(
    private readonly room: ClientRoom,
    readonly name: string,
    private readonly era: 'legacy' | 'modern',
  ) {}

  ask(wish: Wish): string {
    const { world, core } = this.room
    const id = String(this.#nextId++)
    noteSent(this.room, this.name, id, wish)
    const kind = KIND_OF[wish.method]
    if (kind) {
      core.list(kind, { kind: 'all' }, null, { principal: 'local' }).then(
        () => this.#plain(id, 'served', 'a page'),
        (thrown: unknown) => this.#plain(id, 'refused', String(thrown)),
      )
      return id
    }
    if (wish.method === 'ping') {
      this.#plain(id, 'served', 'pong')
      return id
    }
    const running = core.call(this.#call(wish), outcome => {
      this.#running.delete(id)
      world.note({ kind: 'answer', client: this.name, id, answer: readOutcome(outcome) })
    })
    this.#running.set(id, running)
    return id
  }

  cancel(id: string): void {
    if (this.gone) return
    this.room.world.note({ kind: 'cancelled', client: this.name, id })
    this.#running.get(id)?.cancel('no longer wanted')
    this.#running.delete(id)
  }

  leave(): void {
    this.gone = true
    this.room.world.note({ kind: 'left', client: this.name })
    for (const running of this.#running.values()) running.cancel('the client left')
    this.#running.clear()
  }

  /** An answer that says nothing about a call. */
  #plain(id: string, said: 'served' | 'refused', words: string): void {
    this.#answer(id, { said, nonce: null, upstream: null, failure: null, retryAfterMs: null, words })
  }

  #answer(id: string, answer: ReturnType<typeof readOutcome>): void {
    if (!this.gone) this.room.world.note({ kind: 'answer', client: this.name, id, answer })
  }

  #call(wish: Wish): Call {
    const { world } = this.room
    return {
      method: wish.method,
      params: objectAt(json(wish.params)),
      context: {
        principal: 'local',
        scope: { kind: 'all' },
        era: this.era,
        capabilities: Buffer.from('{}'),
        ...(wish.wantsProgress
          ? {
              onProgress: bytes => {
                const { message } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { message: string }
                world.note({
                  kind: 'progress',
                  client: this.name,
                  token: `p-${wish.nonce}`,
                  nonce: message,
                })
              },
            }
          : {}),
      },
    }
  }
}

const KIND_OF: Readonly<Record<string, 'tools' | 'prompts' | 'resources' | 'resourceTemplates'>> = {
  'tools/list': 'tools',
  'prompts/list': 'prompts',
  'resources/list': 'resources',
  'resources/templates/list': 'resourceTemplates',
}
