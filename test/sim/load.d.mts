import type { renderHistory, renderReport } from './render.js'
import type { simulate } from './simulation.js'

export interface SourceChange {
  /** From the root of the repository. */
  readonly file: string
  readonly change: (code: string) => string
}

export interface Loaded {
  readonly simulate: typeof simulate
  readonly renderReport: typeof renderReport
  readonly renderHistory: typeof renderHistory
  close(): Promise<void>
}

/** Loads the simulator and the gateway's sources as they stand, without a build. */
export function loadSimulator(changes?: readonly SourceChange[]): Promise<Loaded>
