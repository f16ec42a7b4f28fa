import type { Bytes } from '../../src/model/index.js'
import type { Child, ChildEvents, Spawner, SpawnRequest } from '../../src/runtime/ports.js'
import type { Dice } from './dice.js'
import { noncesIn } from './models/app.js'
import type { Machine } from './virtual-host.js'
import { type Program, VirtualProcess } from './virtual-process.js'

/** What is installed on the machine: a command, and what becomes of starting it. */
export type Programs = Map<string, () => Program | 'missing'>

const PIPE_BYTES = 64 * 1024
/** As long as the real spawner waits for output that was written before the exit. */
const LAST_OUTPUT_MS = 20

export function createVirtualSpawner(machine: Machine): Spawner {
  const dice = machine.world.dice('spawner')
  return { spawn: (request, events) => new VirtualChild(machine, dice, request, events) }
}

/** A child as the gateway sees it: pipes with a buffer of the machine, and a group that can be signalled. */
class VirtualChild implements Child {
  readonly pid: number | undefined
  readonly #process: VirtualProcess | null
  readonly #command: string
  #released = false
  /** Written, but not yet in the pipe. */
  #queue: { bytes: Bytes; readonly nonces: readonly string[] }[] = []
  #queued = 0
  #wantsDrain = false
  #inputEnded = false
  #lastOutAt = 0
  #hasExited = false

  constructor(
    private readonly machine: Machine,
    private readonly dice: Dice,
    request: SpawnRequest,
    private readonly events: ChildEvents,
  ) {
    const { world, ledger, programs } = machine
    this.#command = request.command
    ledger.spawns += 1
    const refused = ledger.operate('spawn', request.command)
    const program = refused ? 'missing' : (programs.get(request.command)?.() ?? 'missing')
    if (program === 'missing') {
      this.#process = null
      this.pid = undefined
      const reason = refused
        ? `cannot start ${request.command}: EAGAIN`
        : `command not found: ${request.command}`
      world.after(1, () => this.#tell(() => events.failed(reason, new Error(reason))))
      return
    }
    ledger.pipes.add(this)
    this.#process = this.#start(program, request.command)
    this.pid = this.#process.pid
    world.after(dice.between(1, 4), () => this.#tell(() => events.spawned()))
  }

  get queuedBytes(): number {
    return this.#queued
  }

  get exited(): boolean {
    return this.#hasExited
  }

  write(bytes: Bytes): boolean {
    const process = this.#process
    if (!process || this.#inputEnded || this.#released) return false
    if (!process.readsInput || this.machine.ledger.operate('write to a child', this.#command)) {
      process.closeInput()
      this.#later(() => this.events.stdinBroken(new Error('EPIPE')))
      return false
    }
    this.#queue.push({ bytes, nonces: noncesIn(bytes) })
    this.#queued += bytes.length
    this.#fill()
    this.#wantsDrain ||= this.#queued > 0
    return this.#queued === 0
  }

  endInput(): void {
    if (this.#inputEnded) return
    this.#inputEnded = true
    this.#fill()
  }

  killGroup(signal: 'SIGTERM' | 'SIGKILL'): boolean {
    const process = this.#process
    if (!process?.groupAlive) return false
    process.signal(signal)
    return true
  }

  groupAlive(): boolean {
    return this.#process?.groupAlive ?? false
  }

  release(): void {
    this.#released = true
    this.machine.ledger.pipes.delete(this)
    this.#inputEnded = true
    this.#process?.pipesReleased()
  }

  #start(program: Program, command: string): VirtualProcess {
    const { world, ledger } = this.machine
    return new VirtualProcess(world, ledger, this.dice, program, command, {
      stdout: bytes => this.#deliver(bytes, chunk => this.events.stdout(chunk)),
      stderr: bytes => this.#deliver(bytes, chunk => this.events.stderr(chunk)),
      stdoutClosed: () => this.#ordered(0, () => this.events.stdoutEnd()),
      inputRead: () => this.#fill(),
      inputClosed: () => {
        if (this.#queued > 0) this.#later(() => this.events.stdinBroken(new Error('EPIPE')))
      },
      exited: (code, signal, pipesHeld) => this.#exited(code, signal, pipesHeld),
    })
  }

  /** What was written before the exit is still read; then the exit is told. */
  #exited(code: number | null, signal: string | null, pipesHeld: boolean): void {
    this.#hasExited = true
    const wait = pipesHeld ? LAST_OUTPUT_MS : 0
    if (!pipesHeld && this.dice.chance(0.3)) {
      this.#ordered(0, () => this.events.stdoutEnd())
      this.#ordered(this.dice.between(1, 30), () => this.events.exit(code, signal))
      return
    }
    this.#ordered(wait, () => this.events.exit(code, signal))
  }

  /** In pieces, at times of their own, but in order. */
  #deliver(bytes: Bytes, tell: (chunk: Bytes) => void): void {
    let at = 0
    const most = this.dice.chance(0.7) ? bytes.length : Math.max(1, Math.ceil(bytes.length / 3))
    while (at < bytes.length) {
      const chunk = bytes.subarray(at, at + this.dice.between(Math.min(most, 1 + (most >> 1)), most))
      at += chunk.length
      this.#ordered(this.dice.between(0, 2), () => {
        if (this.machine.ledger.operate('read from a child', this.#command)) this.#process?.signal('SIGKILL')
        tell(chunk)
      })
    }
  }

  #ordered(ms: number, fn: () => void): void {
    const { world } = this.machine
    this.#lastOutAt = Math.max(this.#lastOutAt, world.now + ms)
    world.after(this.#lastOutAt - world.now, () => this.#tell(fn))
  }

  #later(fn: () => void): void {
    this.machine.world.after(0, () => this.#tell(fn))
  }

  #tell(fn: () => void): void {
    if (!this.#released) fn()
  }

  /** As much as the pipe takes. Of one write nobody is told how much of it went: it went when its first byte did. */
  #fill(): void {
    const process = this.#process
    if (!process) return
    let first = this.#queue[0]
    while (first && process.unread < PIPE_BYTES) {
      const { bytes, nonces } = first
      const part = bytes.subarray(0, PIPE_BYTES - process.unread)
      for (const nonce of nonces) this.machine.world.note({ kind: 'handed', upstream: this.#command, nonce })
      process.arrive(part)
      this.#queued -= part.length
      if (part.length === bytes.length) this.#queue.shift()
      else this.#queue[0] = { bytes: bytes.subarray(part.length), nonces: [] }
      first = this.#queue[0]
    }
    if (this.#queued === 0 && this.#inputEnded) process.inputEnds()
    if (this.#queued === 0 && this.#wantsDrain) {
      this.#wantsDrain = false
      this.#later(() => this.events.drain())
    }
  }
}
