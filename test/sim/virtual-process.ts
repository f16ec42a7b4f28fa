import type { Bytes } from '../../src/model/index.js'
import type { Dice } from './dice.js'
import type { Ledger } from './ledger.js'
import type { World } from './world.js'

/** What a virtual process runs. */
export interface Program {
  begin(process: VirtualProcess): void
  /** One line of its input, without the line break. */
  line(text: string): void
  /** Its input was closed: a good program ends. */
  inputEnd(): void
  /** @returns true when it ends by itself on SIGTERM */
  terminates(): boolean
}

export interface PipeEnds {
  stdout(bytes: Bytes): void
  stderr(bytes: Bytes): void
  stdoutClosed(): void
  /** The pipe has room again. */
  inputRead(): void
  inputClosed(): void
  /** @param pipesHeld a grandchild still has the output open */
  exited(code: number | null, signal: string | null, pipesHeld: boolean): void
}

/** One process group: the child, and perhaps grandchildren that outlive it. */
export class VirtualProcess {
  readonly pid: number
  alive = true
  readsInput = true
  #reading = false
  #grandchildren = 0
  #arrived: Bytes[] = []
  #unread = 0
  #line = ''
  #ended = false
  #endSeen = false
  #turn = false
  #outputClosed = false

  constructor(
    private readonly world: World,
    private readonly ledger: Ledger,
    private readonly dice: Dice,
    private readonly program: Program,
    command: string,
    private readonly ends: PipeEnds,
  ) {
    this.pid = 100 + ledger.spawns
    ledger.processes.set(this.pid, command)
    world.after(dice.between(2, 12), () => {
      if (!this.alive) return
      this.#reading = true
      program.begin(this)
      this.#look()
    })
  }

  get groupAlive(): boolean {
    return this.alive || this.#grandchildren > 0
  }

  /** Bytes in the pipe that were not read yet. */
  get unread(): number {
    return this.#unread
  }

  // ---- for the program ------------------------------------------------------------------------------------

  say(message: unknown): void {
    this.write(`${JSON.stringify(message)}\n`)
  }

  write(text: string): void {
    if (this.alive && !this.#outputClosed) this.ends.stdout(Buffer.from(text))
  }

  complain(text: string): void {
    if (this.alive) this.ends.stderr(Buffer.from(`${text}\n`))
  }

  /** Runs `fn` later, unless the process is gone by then. */
  after(ms: number, fn: () => void): void {
    this.world.after(ms, () => {
      if (this.alive) fn()
    })
  }

  closeOutput(): void {
    if (this.#outputClosed || !this.alive) return
    this.#outputClosed = true
    this.ends.stdoutClosed()
  }

  closeInput(): void {
    if (!this.readsInput) return
    this.readsInput = false
    this.ends.inputClosed()
  }

  stopReading(): void {
    this.#reading = false
  }

  resumeReading(): void {
    this.#reading = true
    this.#look()
  }

  fork(): void {
    this.#grandchildren += 1
  }

  exit(code: number | null, signal: string | null = null): void {
    if (!this.alive) return
    this.alive = false
    this.readsInput = false
    if (this.#grandchildren === 0) this.ledger.processes.delete(this.pid)
    this.ends.exited(code, signal, this.#grandchildren > 0)
  }

  // ---- for the machine ------------------------------------------------------------------------------------

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (signal === 'SIGTERM' && this.alive && !this.program.terminates()) return
    this.world.after(this.dice.between(0, 3), () => {
      this.#grandchildren = 0
      if (this.alive) this.exit(null, signal)
      else this.ledger.processes.delete(this.pid)
    })
  }

  arrive(bytes: Bytes): void {
    this.#arrived.push(bytes)
    this.#unread += bytes.length
    this.#look()
  }

  inputEnds(): void {
    this.#ended = true
    this.#look()
  }

  /** Nobody holds the other ends any more: its input ends, and its output breaks. */
  pipesReleased(): void {
    this.inputEnds()
  }

  #look(): void {
    if (this.#turn || !this.alive || !this.#reading || !this.readsInput) return
    if (this.#arrived.length === 0 && (!this.#ended || this.#endSeen)) return
    this.#turn = true
    this.after(this.dice.between(0, 2), () => {
      this.#turn = false
      this.#read()
    })
  }

  #read(): void {
    if (!this.#reading || !this.readsInput) return
    const text = Buffer.concat(this.#arrived).toString('utf8')
    this.#arrived = []
    this.#unread = 0
    this.ends.inputRead()
    const lines = (this.#line + text).split('\n')
    this.#line = lines.pop() ?? ''
    for (const line of lines) if (this.alive && line !== '') this.program.line(line)
    if (this.#ended && this.#arrived.length === 0 && !this.#endSeen) {
      this.#endSeen = true
      if (this.alive) this.program.inputEnd()
    }
    this.#look()
  }
}
