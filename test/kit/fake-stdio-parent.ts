import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Fake, ServerEntry } from './fake-mcp.js'
import { type FakeRecord, Records } from './fake-records.js'
import type { ChangeKind, Script } from './fake-script.js'
import { freshFolder } from './run-folder.js'

const PROGRAM = fileURLToPath(new URL('./fake-stdio.mjs', import.meta.url))

interface Child {
  readonly socket: Socket
  pid: number
  readonly acks: Map<number, () => void>
}

/** The test's end of a stdio fake: its script and records are files, living children listen on a socket. */
class FakeStdio implements Fake {
  readonly transport = 'stdio'
  readonly url = null
  readonly records: Records
  readonly #folder = freshFolder('fake')
  readonly #children = new Set<Child>()
  #script: Script
  #seq = 0

  constructor(
    script: Script,
    private readonly server: Server,
  ) {
    this.#script = script
    this.records = new Records(() => readLog(this.#logFile))
    server.on('connection', socket => this.#adopt(socket))
    this.#write()
  }

  get #logFile(): string {
    return join(this.#folder, 'records.jsonl')
  }

  get #scriptFile(): string {
    return join(this.#folder, 'script.json')
  }

  get entry(): ServerEntry {
    return { command: process.execPath, args: [PROGRAM, this.#scriptFile] }
  }

  get script(): Script {
    return this.#script
  }

  async set(script: Script): Promise<void> {
    this.#script = script
    this.#write()
    await this.#tell({ do: 'set', script })
  }

  patch(part: Partial<Script>): Promise<void> {
    return this.set({ ...this.#script, ...part })
  }

  release(gate: string, times?: number): Promise<void> {
    return this.#tell({ do: 'release', gate, times })
  }

  announce(what: ChangeKind): Promise<void> {
    return this.#tell({ do: 'announce', what })
  }

  updated(uri: string): Promise<void> {
    return this.#tell({ do: 'updated', uri })
  }

  endListens(): Promise<void> {
    return this.#tell({ do: 'endListens' })
  }

  say(text: string): Promise<void> {
    return this.#tell({ do: 'say', text })
  }

  quit({ code = 0, signal }: { readonly code?: number; readonly signal?: string } = {}): Promise<void> {
    return this.#tell({ do: 'quit', code, signal })
  }

  closeInput(): Promise<void> {
    return this.#tell({ do: 'closeInput' })
  }

  dropSessions(): void {}

  cutStreams(): void {}

  async crash(): Promise<void> {
    for (const { pid } of this.#children) process.kill(pid, 'SIGKILL')
  }

  async restart(): Promise<void> {
    throw new Error('a stdio fake is started by whoever uses its entry')
  }

  async stop(): Promise<void> {
    for (const { socket } of this.#children) socket.destroy()
    await new Promise(resolve => this.server.close(resolve))
  }

  #write(): void {
    const { port } = this.server.address() as AddressInfo
    writeFileSync(this.#scriptFile, JSON.stringify({ ...this.#script, log: this.#logFile, control: port }))
  }

  #adopt(socket: Socket): void {
    const child: Child = { socket, pid: 0, acks: new Map() }
    let rest = ''
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#children.delete(child)
      for (const settle of child.acks.values()) settle()
    })
    socket.on('data', chunk => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      // Ports are used again: a gateway of another test may still look for a server here.
      if (lines.some(line => !line.startsWith('{'))) return void socket.destroy()
      for (const line of lines) this.#heard(child, JSON.parse(line) as { pid?: number; ack?: number })
    })
  }

  #heard(child: Child, { pid, ack }: { readonly pid?: number; readonly ack?: number }): void {
    if (pid !== undefined) {
      child.pid = pid
      this.#children.add(child)
      // It may have read the file just before a change.
      child.socket.write(`${JSON.stringify({ seq: ++this.#seq, do: 'set', script: this.#script })}\n`)
    }
    if (ack !== undefined) child.acks.get(ack)?.()
  }

  async #tell(command: Readonly<Record<string, unknown>>): Promise<void> {
    await Promise.all([...this.#children].map(child => this.#tellOne(child, command)))
  }

  /** A stopped child never answers; it is not waited for longer than a second. */
  #tellOne(child: Child, command: Readonly<Record<string, unknown>>): Promise<void> {
    return new Promise<void>(resolve => {
      const seq = ++this.#seq
      const timer = setTimeout(resolve, 1_000)
      child.acks.set(seq, () => {
        clearTimeout(timer)
        resolve()
      })
      child.socket.write(`${JSON.stringify({ seq, ...command })}\n`)
    })
  }
}

function readLog(path: string): readonly FakeRecord[] {
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1)
  return lines.map(line => JSON.parse(line) as FakeRecord)
}

export async function openStdioFake(script: Script): Promise<Fake> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return new FakeStdio(script, server)
}
