import { FakeHttp, FakeSse } from './fake/index.mjs'
import type { Fake, ServerEntry } from './fake-mcp.js'
import { type FakeRecord, Records } from './fake-records.js'
import type { ChangeKind, Script } from './fake-script.js'

/** A fake in this process, over HTTP. */
export class FakeNetwork implements Fake {
  readonly records: Records
  readonly #server: FakeHttp | FakeSse
  readonly #log: FakeRecord[] = []

  constructor(
    readonly transport: 'http' | 'sse',
    script: Script,
  ) {
    this.records = new Records(() => this.#log)
    const record = (entry: Record<string, unknown>): void => {
      this.#log.push({ at: Date.now(), pid: process.pid, ...entry } as FakeRecord)
    }
    this.#server = transport === 'http' ? new FakeHttp(script, record) : new FakeSse(script, record)
  }

  get url(): string {
    return this.#server.url
  }

  get entry(): ServerEntry {
    return { type: this.transport, url: this.url }
  }

  get script(): Script {
    return this.#server.core.script
  }

  get sessions(): readonly string[] {
    return this.#server.sessions
  }

  async set(script: Script): Promise<void> {
    this.#server.core.script = this.transport === 'sse' ? { ...script, eras: 'legacy' } : script
  }

  async patch(part: Partial<Script>): Promise<void> {
    await this.set({ ...this.script, ...part })
  }

  async release(gate: string, times?: number): Promise<void> {
    this.#server.core.release(gate, times)
  }

  async announce(kind: ChangeKind): Promise<void> {
    this.#server.core.announce(kind)
  }

  async updated(uri: string): Promise<void> {
    this.#server.core.updated(uri)
  }

  async endListens(): Promise<void> {
    this.#server.core.endListens()
  }

  async say(text: string): Promise<void> {
    this.#server.core.say(text)
  }

  quit(): Promise<void> {
    return this.crash()
  }

  async closeInput(): Promise<void> {
    throw new Error('a network fake has no stdin')
  }

  dropSessions(): void {
    this.#server.dropSessions()
  }

  cutStreams(options?: { abruptly?: boolean }): void {
    this.#server.cutStreams(options)
  }

  async crash(): Promise<void> {
    await this.#server.crash()
  }

  async restart(): Promise<void> {
    await this.#server.crash()
    await this.#server.open()
  }

  async stop(): Promise<void> {
    await this.#server.crash()
  }
}

export async function openNetworkFake(
  transport: 'http' | 'sse',
  script: Script,
  down: boolean,
): Promise<FakeNetwork> {
  const fake = new FakeNetwork(transport, script)
  await fake.restart()
  if (down) await fake.crash()
  return fake
}
