import { isatty } from 'node:tty'
import { stackOf } from '../model/index.js'
import { escapeControls } from '../observe/index.js'
import { CommandFailure, EXIT } from './exit.js'
import { say } from './talk.js'

/** A fault that nobody caught ends one request, not the gateway with everybody's. It is told with its stack. */
export function surviveFaults(): void {
  const tell = (fault: unknown) => {
    const stack = stackOf(fault).split('\n').map(escapeControls).join('\n')
    say(`holdfast: a fault of the gateway, please report it: ${stack}`)
  }
  process.on('uncaughtException', tell)
  process.on('unhandledRejection', tell)
}

const SECOND_SIGNAL_EXIT = 130
/** The last answers have this long to leave after a second signal. */
const LAST_WORDS_MS = 800
/** When all is stopped, nothing should keep the process; if something does, it ends all the same. */
const LINGER_MS = 1_000

export interface StopSignals {
  /** Resolves at the first SIGTERM, SIGINT, or SIGHUP that means a stop. */
  readonly first: Promise<NodeJS.Signals>
  /** A stop has begun for another reason, so the next signal is a second one. */
  begun(): void
}

/**
 * @param force ends everything at once; run at the second signal, and not waited for at the third
 * @param hangup what SIGHUP means to a service; that of a terminal which is gone means a stop all the same
 */
export function watchStopSignals(force: () => Promise<void>, hangup?: () => void): StopSignals {
  const terminals = [0, 1, 2].filter(descriptor => isatty(descriptor))
  const isGone = () => terminals.length > 0 && !terminals.some(descriptor => isatty(descriptor))
  let signals = 0
  let resolveFirst: (signal: NodeJS.Signals) => void = () => undefined
  const first = new Promise<NodeJS.Signals>(resolve => {
    resolveFirst = resolve
  })
  const leave = () => process.exit(SECOND_SIGNAL_EXIT)
  const handle = (signal: NodeJS.Signals) => {
    if (signal === 'SIGHUP' && hangup && process.platform !== 'win32' && !isGone()) return hangup()
    signals += 1
    if (signals === 1) return resolveFirst(signal)
    if (signals > 2) return leave()
    setTimeout(leave, LAST_WORDS_MS)
    void force().finally(leave)
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, handle)
  return {
    first,
    begun: () => {
      signals = Math.max(signals, 1)
    },
  }
}

/**
 * Work that the first signal interrupts. The second one ends the process at once, and with it the groups of its children.
 * @param work its signal is aborted with the failure that the command ends with
 * @param last runs in any case and is waited for: it may take its time, as a stop does
 */
export async function interruptible<T>(
  said: string,
  work: (signal: AbortSignal) => Promise<T>,
  last: () => Promise<void> = () => Promise.resolve(),
): Promise<T> {
  const interrupted = new AbortController()
  const { signal } = interrupted
  const stop = watchStopSignals(() => Promise.resolve())
  void stop.first.then(() => interrupted.abort(new CommandFailure(EXIT.failed, said)))
  const rejected = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  try {
    return await Promise.race([work(signal), rejected])
  } finally {
    stop.begun()
    await last()
  }
}

/** Lets the process end by itself, and ends it when it does not. */
export function endProcess(): void {
  setTimeout(() => process.exit(), LINGER_MS).unref()
}
