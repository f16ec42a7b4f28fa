import { type ChildProcess, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import type { Bytes } from '../model/index.js'
import type { Child, ChildEvents, Spawner, SpawnRequest } from '../runtime/ports.js'

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

/** Output that was written just before the exit still counts; a grandchild that holds the pipe must not delay it. */
const LAST_OUTPUT_MS = 20

export const nodeSpawner: Spawner = {
  spawn: (request, events) => new NodeChild(request, events),
}

export function childEnvironment(
  own: Readonly<Record<string, string>>,
  inherited: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(inherited)) {
    if (value === undefined) continue
    if (INHERITED.has(name) || INHERITED_PREFIXES.some(prefix => name.startsWith(prefix))) env[name] = value
  }
  return Object.assign(env, own)
}

class NodeChild implements Child {
  readonly #process: ChildProcess
  readonly #events: ChildEvents
  #released = false
  #exited = false
  #stdoutEnded = false

  constructor(request: SpawnRequest, events: ChildEvents) {
    this.#events = events
    this.#process = spawn(request.command, [...request.args], {
      cwd: request.cwd,
      env: childEnvironment(request.env),
      // Its own group, so that a launcher's children can be ended with it.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      windowsHide: true,
    })
    this.#listen(request)
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  get queuedBytes(): number {
    return this.#process.stdin?.writableLength ?? 0
  }

  write(bytes: Bytes): boolean {
    const { stdin } = this.#process
    if (!stdin?.writable) return true
    return stdin.write(bytes)
  }

  endInput(): void {
    this.#process.stdin?.end()
  }

  killGroup(signal: 'SIGTERM' | 'SIGKILL'): boolean {
    return this.#signal(signal)
  }

  groupAlive(): boolean {
    return this.#signal(0)
  }

  release(): void {
    this.#released = true
    const { stdin, stdout, stderr } = this.#process
    for (const stream of [stdin, stdout, stderr]) stream?.destroy()
    this.#process.unref()
  }

  #signal(signal: NodeJS.Signals | 0): boolean {
    const { pid } = this.#process
    if (pid === undefined) return false
    try {
      process.kill(-pid, signal)
      return true
    } catch (cause) {
      // EPERM: something of the group lives, but is not ours any more.
      return (cause as NodeJS.ErrnoException).code === 'EPERM'
    }
  }

  #listen(request: SpawnRequest): void {
    const { stdin, stdout, stderr } = this.#process
    const tell = (say: (events: ChildEvents) => void) => {
      if (!this.#released) say(this.#events)
    }
    this.#process.once('spawn', () => tell(events => events.spawned()))
    this.#process.once('error', cause => {
      if (this.#process.pid === undefined) tell(events => events.failed(failureReason(request, cause), cause))
    })
    this.#process.once('exit', (code, signal) => {
      this.#exited = true
      const report = () => tell(events => events.exit(code, signal))
      if (this.#stdoutEnded) report()
      else this.#afterLastOutput(report)
    })
    // Without a listener, a broken pipe would end the whole gateway.
    stdin?.on('error', cause => tell(events => events.stdinBroken(cause)))
    stdin?.on('drain', () => tell(events => events.drain()))
    stdout?.on('error', () => undefined)
    stderr?.on('error', () => undefined)
    stdout?.on('data', (chunk: Buffer) => tell(events => events.stdout(chunk)))
    stderr?.on('data', (chunk: Buffer) => tell(events => events.stderr(chunk)))
    stdout?.once('end', () => {
      this.#stdoutEnded = true
      if (!this.#exited) tell(events => events.stdoutEnd())
    })
  }

  #afterLastOutput(report: () => void): void {
    let reported = false
    const once = () => {
      if (reported) return
      reported = true
      report()
    }
    this.#process.stdout?.once('end', once)
    setTimeout(once, LAST_OUTPUT_MS)
  }
}

function failureReason(request: SpawnRequest, cause: Error): string {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') {
    if (request.cwd !== undefined && !isFolder(request.cwd))
      return `the working folder ${request.cwd} does not exist`
    return `command not found: ${request.command}`
  }
  if (code === 'EACCES') return `not executable: ${request.command}`
  return `cannot start ${request.command}: ${cause.message}`
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
