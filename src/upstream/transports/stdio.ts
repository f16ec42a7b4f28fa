import { type Bytes, LIMITS, type StdioSpec, type Timeouts } from '../../model/index.js'
import type { Child, Clock, Host, Timer } from '../../runtime/ports.js'
import { encodeLine, LineSplitter } from '../../wire/index.js'
import type { OutgoingMessage, Transport, TransportEvents, TransportFault } from '../transport.js'
import { answeredId, oversized } from './oversized.js'
import { StderrTail } from './stderr-tail.js'
import { StdinQueue } from './stdin-queue.js'

/** Milliseconds after closing stdin until SIGTERM, and after that until SIGKILL, to the whole group. */
export interface Ladder {
  readonly termMs: number
  readonly killMs: number
}

const LADDER: Ladder = { termMs: 2_000, killMs: 3_000 }
const POLL_MS = 20
/** SIGKILL is not waited for longer: what survives it hangs in the kernel. */
const DEAD_MS = 1_000
/** A broken pipe is nearly always followed by an exit at once, and the exit says more. */
const EXIT_WAIT_MS = 100

export function createStdioTransport(
  host: Host,
  spec: StdioSpec,
  timeouts: Timeouts,
  events: TransportEvents,
  ladder: Ladder = LADDER,
): Transport {
  return new StdioTransport(host, spec, timeouts, events, ladder)
}

/** `dead` = it ended by itself; `closing` and `stopped` = the gateway ended it, and no event follows. */
type State = 'new' | 'running' | 'dead' | 'closing' | 'stopped'

const STOPPED: TransportFault = {
  phase: 'never-sent',
  reason: 'aborted',
  message: 'was stopped while it started',
}

const STUCK: TransportFault = {
  phase: 'unknown',
  reason: 'stdin',
  message: `has not read its input for ${LIMITS.stdinStuckMs / 1_000} s`,
}

class StdioTransport implements Transport {
  readonly kind = 'stdio'
  readonly #clock: Clock
  readonly #stderr: StderrTail
  readonly #lines: LineSplitter
  #state: State = 'new'
  #child: Child | null = null
  #queue: StdinQueue | null = null
  #closed: Promise<void> | null = null
  #doom: Timer | null = null
  /** Not taken, with the reason, and not yet told so. */
  readonly #refused = new Map<number, string>()
  #onStart: { resolve(): void; reject(fault: TransportFault): void } | null = null
  /** The request whose answer is the line that is being dropped was told already. */
  #toldTooLarge = false

  constructor(
    private readonly host: Host,
    private readonly spec: StdioSpec,
    private readonly timeouts: Timeouts,
    private readonly events: TransportEvents,
    private readonly ladder: Ladder,
  ) {
    this.#clock = host.clock
    this.#stderr = new StderrTail(host.clock, line => {
      if (this.#state === 'running') events.stderr(line)
    })
    this.#lines = new LineSplitter(LIMITS.upstreamMessageBytes, {
      line: bytes => this.#line(bytes),
      exceeded: (prefix, total) => this.#exceeded(prefix, total),
      overflow: (prefix, _total, suffix) => {
        if (!this.#toldTooLarge) this.#dropped(answeredId(prefix, suffix))
        this.#toldTooLarge = false
      },
    })
  }

  get pid(): number | null {
    return this.#child?.pid ?? null
  }

  start(signal: AbortSignal): Promise<void> {
    if (this.#state !== 'new' || signal.aborted) return Promise.reject(STOPPED)
    this.#state = 'running'
    const timer = this.#clock.after(this.timeouts.connect, () =>
      this.#die({ phase: 'never-sent', reason: 'spawn', message: 'did not start in time' }),
    )
    const give = () => this.destroy()
    signal.addEventListener('abort', give, { once: true })
    return new Promise<void>((resolve, reject) => {
      this.#onStart = { resolve, reject }
      this.#spawn()
    }).finally(() => {
      timer.cancel()
      signal.removeEventListener('abort', give)
    })
  }

  send(message: OutgoingMessage): void {
    if (this.#state === 'running' && this.#queue) this.#queue.push(encodeLine(message.bytes), message.id)
    else if (message.id !== undefined) this.#refuse(message.id, 'the process is gone')
  }

  abort(): void {}
  useProtocolVersion(): void {}
  openNotificationStream(): void {}

  close(): Promise<void> {
    this.#closed ??= this.#climbDown()
    return this.#closed
  }

  destroy(): void {
    this.#closed ??= Promise.resolve()
    const before = this.#state
    this.#leave('stopped')
    // After the end its group number may be somebody else's.
    if (before === 'dead' || before === 'stopped') return
    this.#child?.killGroup('SIGKILL')
    this.#child?.release()
  }

  fail(fault: TransportFault): void {
    this.#die(fault)
  }

  /** No event follows. */
  #leave(state: 'closing' | 'stopped'): void {
    this.#state = state
    this.#queue?.stop()
    this.#doom?.cancel()
    this.#onStart?.reject(STOPPED)
    this.#onStart = null
  }

  #spawn(): void {
    const child = this.host.spawner.spawn(this.spec, {
      spawned: () => {
        this.#onStart?.resolve()
        this.#onStart = null
      },
      failed: (message, cause, local) =>
        this.#die({ phase: 'never-sent', reason: 'spawn', message, cause, ...(local ? { local } : {}) }),
      stdout: chunk => this.#lines.push(chunk),
      stdoutEnd: () => this.#dieSoon({ phase: 'unknown', reason: 'eof', message: 'closed its output' }),
      stderr: chunk => this.#stderr.push(chunk),
      stdinBroken: cause => {
        this.#queue?.broke()
        this.#dieSoon({ phase: 'unknown', reason: 'stdin', message: 'closed its input', cause })
      },
      drain: () => this.#queue?.drained(),
      exit: (code, signal) => this.#exited(code, signal),
    })
    this.#child = child
    this.#queue = new StdinQueue(child, this.#clock, {
      refused: id => this.#refuse(id, 'it does not read its input'),
      stuck: () => this.#die(this.#withLastWords(STUCK)),
    })
  }

  #line(bytes: Bytes): void {
    if (this.#state !== 'running') return
    const first = bytes.find(byte => byte !== 0x20 && byte !== 0x09)
    if (first === 0x7b || first === 0x5b) this.events.message(bytes, null)
    else this.events.noise(`not a message on stdout: ${excerpt(bytes)}`, 'garbage')
  }

  /** Told before its end, which may never come: to who waits for it, and again with each further length of the bound. */
  #exceeded(prefix: Bytes, total: number): void {
    const id = this.#toldTooLarge ? null : answeredId(prefix)
    if (id === null && total < LIMITS.upstreamMessageBytes * 2) return
    if (id !== null) this.#toldTooLarge = true
    this.#dropped(id)
  }

  #dropped(id: number | null): void {
    if (this.#state !== 'running') return
    const fault = oversized('a line')
    if (id === null) this.events.noise(fault.message, 'violation')
    else this.events.ended(id, fault)
  }

  #refuse(id: number, why: string): void {
    this.#refused.set(id, why)
    // A later turn: the caller is still inside `send`.
    queueMicrotask(() => this.#tellRefused())
  }

  #tellRefused(): void {
    for (const [id, why] of this.#refused) {
      this.#refused.delete(id)
      if (this.#state === 'running' || this.#state === 'dead')
        this.events.ended(id, { phase: 'never-sent', reason: 'stdin', message: `was not sent: ${why}` })
    }
  }

  #dieSoon(fault: TransportFault): void {
    if (this.#state !== 'running' || this.#doom) return
    const late = () => {
      if (!this.#child?.exited) this.#die(this.#withLastWords(fault))
    }
    // After a busy turn timers are due before an end of the process is seen.
    this.#doom = this.#clock.after(EXIT_WAIT_MS, () => {
      this.#doom = this.#clock.after(1, late)
    })
  }

  #exited(code: number | null, signal: string | null): void {
    const message = signal === null ? `exited with code ${code}` : `was killed by ${signal}`
    this.#die(this.#withLastWords({ phase: 'unknown', reason: 'exit', message, exit: { code, signal } }))
  }

  #withLastWords(fault: TransportFault): TransportFault {
    const said = this.#stderr.lastLines()
    return said === '' ? fault : { ...fault, message: `${fault.message}: ${said}` }
  }

  /** Whatever ended it, the rest of the group goes too, and what was never written is said to be so. */
  #die(fault: TransportFault): void {
    if (this.#state !== 'running') return
    this.#state = 'dead'
    this.#doom?.cancel()
    this.#queue?.stop()
    const unsent = this.#queue?.takeUnsent() ?? []
    this.#child?.killGroup('SIGKILL')
    this.#child?.release()
    if (this.#onStart) {
      this.#onStart.reject(fault)
      this.#onStart = null
      return
    }
    for (const id of unsent) this.events.ended(id, { ...fault, phase: 'never-sent', fatal: true })
    // Whoever took the places of those came too late as well.
    this.#tellRefused()
    this.events.closed(fault)
  }

  /**
   * Close stdin, wait, SIGTERM the group, wait, SIGKILL the group.
   * @throws Error when something of the group is left even then
   */
  async #climbDown(): Promise<void> {
    const child = this.#child
    const wasRunning = this.#state === 'running'
    this.#leave(wasRunning ? 'closing' : 'stopped')
    if (!child || !wasRunning) return
    child.endInput()
    const gone = await this.#goneBySteps(child)
    child.release()
    this.#state = 'stopped'
    if (!gone) throw new Error(`its process group ${child.pid} is still there after SIGKILL`)
  }

  async #goneBySteps(child: Child): Promise<boolean> {
    if (await this.#gone(child, this.ladder.termMs)) return true
    child.killGroup('SIGTERM')
    if (await this.#gone(child, this.ladder.killMs)) return true
    child.killGroup('SIGKILL')
    return this.#gone(child, DEAD_MS)
  }

  #gone(child: Child, withinMs: number): Promise<boolean> {
    const until = this.#clock.now() + withinMs
    return new Promise(resolve => {
      let timer: Timer | null = null
      const look = () => {
        timer?.cancel()
        if (!child.groupAlive()) resolve(true)
        else if (this.#clock.now() >= until) resolve(false)
        else timer = this.#clock.after(POLL_MS, look)
      }
      look()
    })
  }
}

function excerpt(bytes: Bytes): string {
  return JSON.stringify(Buffer.from(bytes.subarray(0, 200)).toString('utf8'))
}
