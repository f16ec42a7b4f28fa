import { type ChildProcess, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Bytes } from '../model/index.js'
import type { Child, ChildEvents, Spawner, SpawnRequest } from '../runtime/ports.js'
import { Groups, groupAlive } from './groups.js'
import type { Ledger } from './ledger.js'
import { localFault } from './local-faults.js'
import { INSTANCE_VARIABLE } from './proc.js'

/** What a child inherits: enough to find programs, homes, proxies and certificates; none of our own secrets. */
const INHERITED = new Set(
  `PATH HOME USER LOGNAME SHELL TERM LANG LANGUAGE TZ TMPDIR TMP TEMP HOSTNAME DISPLAY
   SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY
   http_proxy https_proxy no_proxy all_proxy SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT
   APPDATA LOCALAPPDATA USERPROFILE USERNAME HOMEDRIVE HOMEPATH PROGRAMFILES PROGRAMDATA PROCESSOR_ARCHITECTURE`
    .split(/\s+/)
    .filter(name => name !== ''),
)
const INHERITED_PREFIXES = ['LC_', 'XDG_', 'npm_config_', 'NPM_CONFIG_', 'UV_', 'PYENV_', 'NVM_', 'VOLTA_']
/** Running a program never needs the credentials for publishing one. */
const NEVER_INHERITED = /^UV_PUBLISH_/

/** Output that was written just before the exit still counts; a grandchild that holds the pipe must not delay it. */
const LAST_OUTPUT_MS = 20

/** After the leader of a group has gone, looking for its members means looking at every process. */
const LOOK_EVERY_MS = 200

export class NodeSpawner implements Spawner {
  readonly groups: Groups
  readonly #mark: Readonly<Record<string, string>>

  /**
   * @param instance names this gateway in the environment of all that it starts
   * @param ledger null where none is kept
   */
  constructor(instance: string, ledger: Ledger | null) {
    this.groups = new Groups(ledger)
    this.#mark = { [INSTANCE_VARIABLE]: instance }
  }

  get living(): number {
    return this.groups.size
  }

  onEnded(listener: () => void): () => void {
    return this.groups.onEnded(listener)
  }

  spawn(request: SpawnRequest, events: ChildEvents): Child {
    return new NodeChild({ ...request, env: { ...request.env, ...this.#mark } }, events, this.groups)
  }
}

export function childEnvironment(
  own: Readonly<Record<string, string>>,
  inherited: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(inherited)) {
    if (value === undefined || NEVER_INHERITED.test(name)) continue
    if (INHERITED.has(name) || INHERITED_PREFIXES.some(prefix => name.startsWith(prefix))) env[name] = value
  }
  return Object.assign(env, own)
}

class NodeChild implements Child {
  /** Null when the machine refused at once. */
  readonly #process: ChildProcess | null
  readonly #events: ChildEvents
  #released = false
  /** Not all that was written was taken yet. */
  #full = false
  #exited = false
  /** Once the group was seen gone, its number may belong to somebody else. */
  #groupGone = false
  #lookedAt = Number.NEGATIVE_INFINITY
  /** Streams that may still hold output written before the exit. */
  #openOutputs = 2

  constructor(
    request: SpawnRequest,
    events: ChildEvents,
    private readonly groups: Groups,
  ) {
    this.#events = events
    this.#process = this.#spawn(request)
    if (this.#process) this.#listen(this.#process, request)
    if (this.pid !== undefined) groups.started(this.pid, request.command)
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  get queuedBytes(): number {
    return this.#process?.stdin?.writableLength ?? 0
  }

  get exited(): boolean {
    return this.#exited
  }

  write(bytes: Bytes): boolean {
    const stdin = this.#process?.stdin
    if (!stdin?.writable) return false
    stdin.write(bytes, this.#written)
    this.#full = stdin.writableLength > 0
    return !this.#full && stdin.errored === null
  }

  /** One function for all writes: they are many. */
  readonly #written = (error?: Error | null) => {
    if (error || !this.#full || this.queuedBytes > 0) return
    this.#full = false
    this.#tell(events => events.drain())
  }

  endInput(): void {
    this.#process?.stdin?.end()
  }

  killGroup(signal: 'SIGTERM' | 'SIGKILL'): boolean {
    return this.#signal(signal)
  }

  groupAlive(): boolean {
    if (!this.#signal(0)) return false
    const now = performance.now()
    if (!this.#exited || this.pid === undefined || now - this.#lookedAt < LOOK_EVERY_MS) return true
    this.#lookedAt = now
    this.#groupGone = !groupAlive(this.pid, true)
    return !this.#groupGone
  }

  release(): void {
    this.#released = true
    if (!this.#process) return
    const { stdin, stdout, stderr } = this.#process
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
    this.#process.unref()
  }

  #tell(say: (events: ChildEvents) => void): void {
    if (!this.#released) say(this.#events)
  }

  #spawn(request: SpawnRequest): ChildProcess | null {
    try {
      return spawn(request.command, [...request.args], {
        cwd: request.cwd,
        env: childEnvironment(request.env),
        // Its own group, so that a launcher's children can be ended with it.
        detached: true,
        stdio: ['pipe', 'pipe', 'pipe'],
        windowsHide: true,
      })
    } catch (thrown) {
      const cause = thrown instanceof Error ? thrown : new Error(String(thrown))
      queueMicrotask(() => this.#failed(request, cause))
      return null
    }
  }

  #failed(request: SpawnRequest, cause: Error): void {
    const local = localFault((cause as NodeJS.ErrnoException).code)
    const reason =
      local === null ? failureReason(request, cause) : `cannot start ${request.command}: ${local}`
    this.#tell(events => events.failed(reason, cause, local !== null))
  }

  #signal(signal: NodeJS.Signals | 0): boolean {
    const pid = this.#process?.pid
    if (pid === undefined || this.#groupGone) return false
    try {
      process.kill(-pid, signal)
      return true
    } catch (cause) {
      // EPERM: something of the group lives, but is not ours any more.
      if ((cause as NodeJS.ErrnoException).code === 'EPERM') return true
      // Before the exit is known, the number is still ours: the group may not have been made yet.
      this.#groupGone = this.#exited
      return false
    }
  }

  #listen(child: ChildProcess, request: SpawnRequest): void {
    child.once('spawn', () => this.#tell(events => events.spawned()))
    child.on('error', cause => {
      if (child.pid === undefined) this.#failed(request, cause)
    })
    child.once('exit', (code, signal) => {
      this.#exited = true
      if (child.pid !== undefined) this.groups.leaderGone(child.pid)
      this.#afterLastOutput(child, () => this.#tell(events => events.exit(code, signal)))
    })
    this.#listenToPipes(child)
  }

  #listenToPipes({ stdin, stdout, stderr }: ChildProcess): void {
    // Without a listener, a broken pipe would end the whole gateway.
    stdin?.on('error', cause => this.#tell(events => events.stdinBroken(cause)))
    stdout?.on('error', () => undefined)
    stderr?.on('error', () => undefined)
    stdout?.on('data', (chunk: Buffer) => this.#tell(events => events.stdout(chunk)))
    stderr?.on('data', (chunk: Buffer) => this.#tell(events => events.stderr(chunk)))
    stdout?.once('end', () => {
      this.#openOutputs -= 1
      if (!this.#exited) this.#tell(events => events.stdoutEnd())
    })
    stderr?.once('end', () => {
      this.#openOutputs -= 1
    })
  }

  #afterLastOutput({ stdout, stderr }: ChildProcess, report: () => void): void {
    if (this.#openOutputs === 0) return report()
    let reported = false
    const once = () => {
      if (reported) return
      reported = true
      report()
    }
    const look = () => {
      if (this.#openOutputs === 0) once()
    }
    stdout?.once('end', look)
    stderr?.once('end', look)
    // After a busy turn the timer is due before the pipes were looked at.
    setTimeout(() => setImmediate(once), LAST_OUTPUT_MS)
  }
}

function failureReason(request: SpawnRequest, cause: Error): string {
  const { code } = cause as NodeJS.ErrnoException
  if (request.cwd !== undefined && (code === 'ENOENT' || code === 'ENOTDIR') && !isFolder(request.cwd))
    return `the working folder ${request.cwd} ${code === 'ENOENT' ? 'does not exist' : 'is not a folder'}`
  if (code === 'ENOENT') return `command not found: ${request.command}`
  if (code === 'EACCES') return `not executable: ${request.command}`
  return `cannot start ${request.command}: ${cause.message}`
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
