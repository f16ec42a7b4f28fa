/**
 * A scriptable fake MCP server for tests, over stdio, Streamable HTTP, or HTTP+SSE of 2024-11-05, in both eras.
 */
import { type FakeNetwork, openNetworkFake } from './fake-network.js'
import type { Records } from './fake-records.js'
import type { ChangeKind, Script } from './fake-script.js'
import { openStdioFake } from './fake-stdio-parent.js'

export type { Action, Fault, Script, Step } from './fake-script.js'
export type { FakeNetwork }

export type FakeTransport = 'stdio' | 'http' | 'sse'

export interface FakeOptions {
  /** Default `http`. */
  readonly transport?: FakeTransport
  readonly script?: Script
  /** Starts no listener: an address where nobody is, until `restart`. */
  readonly down?: boolean
}

/** An entry of `mcpServers`. */
export interface ServerEntry {
  readonly type?: string
  readonly url?: string
  readonly command?: string
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly holdfast?: Readonly<Record<string, unknown>>
}

export interface Fake {
  readonly transport: FakeTransport
  /** What to write under its name in `mcpServers`. */
  readonly entry: ServerEntry
  /** Its address; null for stdio. */
  readonly url: string | null
  readonly records: Records
  readonly script: Script
  /** Replaces the script. Resolves when every living instance has it. */
  set(script: Script): Promise<void>
  /** Changes some members of the script. */
  patch(part: Partial<Script>): Promise<void>
  /** Lets `times` waiting or later steps pass the gate. */
  release(gate: string, times?: number): Promise<void>
  /** Sends list_changed to whoever gets such notifications. */
  announce(kind: ChangeKind): Promise<void>
  /** Sends `resources/updated` to the subscribers of that URI. */
  updated(uri: string): Promise<void>
  /** Ends every listen stream with its result. */
  endListens(): Promise<void>
  /** Sends a raw message, unasked, to every legacy session or pipe. */
  say(text: string): Promise<void>
  /** stdio: every living child ends by itself. Network fakes: the same as `crash`. */
  quit(how?: { readonly code?: number; readonly signal?: string }): Promise<void>
  /** stdio: every living child closes its stdin, and lives on. */
  closeInput(): Promise<void>
  /** Network fakes: forgets all sessions. */
  dropSessions(): void
  /** Network fakes: ends the open notification streams. */
  cutStreams(options?: { abruptly?: boolean }): void
  /** SIGKILL of every living child; or all sockets dropped and the listener closed. */
  crash(): Promise<void>
  /** Network fakes: listens again on the same port, with no memory of sessions. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** Starts a fake; for stdio, gets one ready to be started by whoever uses its entry. */
export async function startFake(options: FakeOptions = {}): Promise<Fake> {
  const { transport = 'http', script = {}, down = false } = options
  return transport === 'stdio' ? openStdioFake(script) : openNetworkFake(transport, script, down)
}

/** Runs `use` with fakes that are stopped afterwards, whatever happens. */
export async function withFakes<T>(
  all: readonly FakeOptions[],
  use: (...fakes: Fake[]) => Promise<T>,
): Promise<T> {
  const fakes: Fake[] = []
  try {
    for (const options of all) fakes.push(await startFake(options))
    return await use(...fakes)
  } finally {
    await Promise.all(fakes.map(fake => fake.stop()))
  }
}
