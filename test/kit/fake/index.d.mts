import type { ChangeKind, Script } from '../fake-script.js'

export interface FakeCore {
  script: Script
  release(gate: string, times?: number): void
  announce(kind: ChangeKind): void
  updated(uri: string): void
  endListens(): void
  say(text: string): void
}

declare class FakeNetwork {
  constructor(script: Script, record: (entry: Record<string, unknown>) => void)
  readonly core: FakeCore
  readonly url: string
  readonly sessions: readonly string[]
  open(): Promise<void>
  crash(): Promise<void>
  dropSessions(): void
  cutStreams(options?: { abruptly?: boolean }): void
}

export class FakeHttp extends FakeNetwork {}
export class FakeSse extends FakeNetwork {}
