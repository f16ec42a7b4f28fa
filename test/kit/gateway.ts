import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { GatewayStatus, UpstreamStatus } from '../../src/control/status.js'
import { findControlFile, requireStateFolder } from '../../src/host/index.js'
import type { ReloadResult } from '../../src/index.js'
import { CLI, ensureBuilt } from './build.js'
import type { ServerEntry } from './fake-mcp.js'
import { rawRequest } from './raw-http.js'
import { freshFolder, runFolder } from './run-folder.js'
import { PATIENCE_MS } from './until.js'

/** A config file as data; servers are fakes' entries or anything that `mcpServers` takes. */
export interface TestConfig {
  readonly mcpServers: Readonly<Record<string, ServerEntry | Readonly<Record<string, unknown>>>>
  readonly holdfast?: Readonly<Record<string, unknown>>
}

export interface GatewayOptions {
  /** Further arguments of `serve`. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A command in front of the gateway's own that replaces itself by it: `prlimit`, `nice`. */
  readonly prefix?: readonly string[]
  /** Until the ready line; default 10 s. */
  readonly timeoutMs?: number
}

const living = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of living) child.kill('SIGKILL')
})

/** A running `holdfast serve` of the built package. */
export class TestGateway {
  stdout = ''
  stderr = ''
  /** The `/mcp` endpoint. */
  url = ''
  /** Milliseconds from spawn to the ready line. */
  readyMs = 0
  /** What it was when the gateway was started. */
  readonly #stateFolder = requireStateFolder()
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>

  constructor(
    private readonly child: ChildProcess,
    readonly configFile: string,
  ) {
    living.add(child)
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.exit = new Promise(resolve => {
      child.once('error', error => {
        this.stderr += String(error)
        resolve({ code: null, signal: null })
      })
      child.once('close', (code, signal) => {
        living.delete(child)
        resolve({ code, signal })
      })
    })
  }

  get pid(): number {
    return this.child.pid ?? 0
  }

  get running(): boolean {
    return living.has(this.child)
  }

  /** The address without a path. */
  get origin(): string {
    return new URL(this.url).origin
  }

  /** Lines of the log, parsed where they are JSON. */
  get log(): readonly (Readonly<Record<string, unknown>> | string)[] {
    return this.stderr
      .split('\n')
      .filter(line => line !== '')
      .map(line => (line.startsWith('{') ? (JSON.parse(line) as Record<string, unknown>) : line))
  }

  async get(path: string): Promise<unknown> {
    const { status, body } = await rawRequest(`${this.origin}${path}`, { method: 'GET' })
    if (status !== 200) throw new Error(`GET ${path} answered ${status}: ${body.toString()}`)
    return JSON.parse(body.toString())
  }

  /** An action, with the token that only the owner of the gateway can read. */
  async post(path: string): Promise<{ readonly status: number; readonly body: unknown }> {
    const token = findControlFile(this.#stateFolder, this.origin)?.token ?? ''
    const { status, text } = await rawRequest(`${this.origin}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      timeoutMs: 30_000,
    })
    return { status, body: JSON.parse(text) as unknown }
  }

  async reload({ dryRun = false } = {}): Promise<ReloadResult> {
    const { status, body } = await this.post(`/api/v1/reload${dryRun ? '?dryRun=1' : ''}`)
    if (status !== 200) throw new Error(`The reload was answered ${status}: ${JSON.stringify(body)}`)
    return body as ReloadResult
  }

  async status(): Promise<GatewayStatus> {
    return (await this.get('/api/v1/status')) as GatewayStatus
  }

  async upstream(name: string): Promise<UpstreamStatus> {
    return findUpstream(await this.status(), name)
  }

  /** Polls status until the predicate holds; rejects with the last status otherwise. */
  async waitFor(holds: (status: GatewayStatus) => boolean, timeoutMs = PATIENCE_MS): Promise<GatewayStatus> {
    const end = Date.now() + timeoutMs
    for (;;) {
      const status = await this.status()
      if (holds(status)) return status
      if (Date.now() > end) {
        throw new Error(
          `Status did not become as wanted in ${timeoutMs} ms:\n${JSON.stringify(status.upstreams, null, 2)}\n${this.stderr}`,
        )
      }
      await delay(20)
    }
  }

  /** Waits until that server is in that state; a ready one must be reachable too. */
  async waitForState(name: string, state: string, timeoutMs?: number): Promise<UpstreamStatus> {
    const holds = (upstream: UpstreamStatus) => upstream.state === state && upstream.breaker === 'closed'
    return findUpstream(await this.waitFor(status => holds(findUpstream(status, name)), timeoutMs), name)
  }

  async waitForHealth(name: string, health: string, timeoutMs?: number): Promise<UpstreamStatus> {
    return findUpstream(
      await this.waitFor(status => findUpstream(status, name).health === health, timeoutMs),
      name,
    )
  }

  /** Waits until the first start of every server has ended, well or not. */
  async settled(timeoutMs?: number): Promise<GatewayStatus> {
    return this.waitFor(status => status.upstreams.every(({ settled }) => settled), timeoutMs)
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  /** Sends the signal and resolves with the exit code; null when a signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', timeoutMs = 35_000): Promise<number | null> {
    if (this.running) this.child.kill(signal)
    const timer = new AbortController()
    const late = delay(timeoutMs, 'late' as const, { signal: timer.signal }).catch(() => 'late' as const)
    const ended = await Promise.race([this.exit, late])
    timer.abort()
    if (ended !== 'late') return ended.code
    this.child.kill('SIGKILL')
    throw new Error(`The gateway was still there ${timeoutMs} ms after ${signal}.\n${this.stderr}`)
  }
}

function findUpstream(status: GatewayStatus, name: string): UpstreamStatus {
  const found = status.upstreams.find(upstream => upstream.name === name)
  if (!found)
    throw new Error(`Status has no server ${name}: ${status.upstreams.map(one => one.name).join(', ')}`)
  return found
}

/** Writes a config into a folder of its own and returns the path of the file. */
export function writeConfig(config: TestConfig | string, file = 'holdfast.json'): string {
  const path = join(freshFolder('config'), file)
  writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config, null, 2))
  return path
}

/** Starts the built gateway and waits for its ready line. A text is the path of a config file. */
export async function startGateway(
  config: TestConfig | string,
  options: GatewayOptions = {},
): Promise<TestGateway> {
  await ensureBuilt()
  const file = typeof config === 'string' ? config : writeConfig(config)
  const args = [CLI, 'serve', '--json', '--port', '0', '--config', file, ...(options.args ?? [])]
  const [command = '', ...before] = [...(options.prefix ?? []), process.execPath]
  const started = performance.now()
  const child = spawn(command, [...before, ...args], {
    env: gatewayEnvironment(options.env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const gateway = new TestGateway(child, file)
  const ready = await firstLine(child, gateway, options.timeoutMs ?? PATIENCE_MS)
  gateway.readyMs = performance.now() - started
  gateway.url = ready.url
  return gateway
}

/** No variable of the machine may decide which config or colours are used. */
export function gatewayEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const { HOLDFAST_CONFIG: _config, FORCE_COLOR: _colour, NODE_OPTIONS: _options, ...rest } = process.env
  return { ...rest, HOLDFAST_TEST_RUN: runFolder(), NO_COLOR: '1', ...extra }
}

interface ReadyLine {
  readonly event: string
  readonly url: string
}

async function firstLine(child: ChildProcess, gateway: TestGateway, timeoutMs: number): Promise<ReadyLine> {
  const timer = new AbortController()
  const line = new Promise<void>(resolve => {
    child.stdout?.on('data', () => {
      if (gateway.stdout.includes('\n')) resolve()
    })
  })
  const late = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => {})
  await Promise.race([line, gateway.exit, late])
  timer.abort()
  if (gateway.stdout.includes('\n')) return JSON.parse(gateway.stdout.split('\n')[0] ?? '') as ReadyLine
  const code = gateway.running ? 'still running' : `exit code ${(await gateway.exit).code}`
  child.kill('SIGKILL')
  throw new Error(
    `The gateway printed no ready line (${code}).\nstdout: ${gateway.stdout}\nstderr: ${gateway.stderr}`,
  )
}

/** Runs `use` with a gateway that is stopped afterwards, whatever happens. */
export async function withGateway<T>(
  config: TestConfig | string,
  use: (gateway: TestGateway) => Promise<T>,
  options?: GatewayOptions,
): Promise<T> {
  const gateway = await startGateway(config, options)
  try {
    return await use(gateway)
  } finally {
    await gateway.stop()
  }
}

export interface CommandResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs one command of the CLI to its end. */
export async function runCommand(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>
    readonly input?: string
    readonly cwd?: string
  } = {},
): Promise<CommandResult> {
  await ensureBuilt()
  const child = spawn(process.execPath, [CLI, ...args], {
    env: gatewayEnvironment(options.env),
    cwd: options.cwd,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const gateway = new TestGateway(child, '')
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input ?? '')
  const { code } = await gateway.exit
  return { code, stdout: gateway.stdout, stderr: gateway.stderr }
}
