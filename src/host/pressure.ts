import { closeSync, openSync, readFileSync } from 'node:fs'
import { devNull } from 'node:os'
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'

/** Between two looks at the event loop; being late is measured from here on. */
const LOOP_STEP_MS = 50

/** Measures this process: heap, event loop, descriptors. Costs a few microseconds a reading. */
export class ProcessGauge {
  readonly heapLimitBytes = heapLimit()
  /** Null where the machine does not tell. */
  readonly fdLimit = fdLimit()
  #loop: IntervalHistogram | null = null

  start(): void {
    this.#loop ??= monitorEventLoopDelay({ resolution: LOOP_STEP_MS })
    this.#loop.enable()
  }

  /** What it was like since the last reading. */
  read(): { readonly heap: number; readonly loopDelayMs: number; readonly fds: number | null } {
    return {
      heap: getHeapStatistics().used_heap_size / this.heapLimitBytes,
      loopDelayMs: this.#loopDelay(),
      fds: this.fdLimit === null ? null : openDescriptors(this.fdLimit) / this.fdLimit,
    }
  }

  stop(): void {
    this.#loop?.disable()
    this.#loop = null
  }

  #loopDelay(): number {
    if (!this.#loop) return 0
    const late = this.#loop.count === 0 ? 0 : this.#loop.percentile(99) / 1e6 - LOOP_STEP_MS
    this.#loop.reset()
    return Math.max(0, late)
  }
}

/**
 * The lowest free descriptor is about the number of open ones: exactly that as soon as they get scarce, because holes are
 * filled first.
 */
function openDescriptors(limit: number): number {
  try {
    const fd = openSync(devNull, 'r')
    closeSync(fd)
    return fd
  } catch {
    return limit
  }
}

/** V8's own figure counts the young generation too, which is no room for what stays; a limit that was set is exact. */
function heapLimit(): number {
  const total = getHeapStatistics().heap_size_limit
  const flags = `${process.env['NODE_OPTIONS'] ?? ''} ${process.execArgv.join(' ')}`
  const set = [...flags.matchAll(/--max[-_]old[-_]space[-_]size[= ](\d+)/g)].at(-1)?.[1]
  return set === undefined ? total : Math.min(total, Number(set) * 1024 * 1024)
}

function fdLimit(): number | null {
  try {
    const found = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
    return found ? Number(found[1]) : null
  } catch {
    return null
  }
}
