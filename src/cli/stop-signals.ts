import { escapeControls } from '../observe/index.js'
import { say } from './talk.js'

/** A fault that nobody caught ends one request, not the gateway with everybody's. It is told with its stack. */
export function surviveFaults(): void {
  const tell = (fault: unknown) => {
    const stack = fault instanceof Error ? (fault.stack ?? fault.message) : String(fault)
    say(
      `holdfast: a fault of the gateway, please report it: ${stack.split('\n').map(escapeControls).join('\n')}`,
    )
  }
  process.on('uncaughtException', tell)
  process.on('unhandledRejection', tell)
  // A reader that left must not make the attempt to tell so fail again.
  process.stdout.on('error', () => undefined)
  process.stderr.on('error', () => undefined)
}

/** A second signal, or a hang beyond this, ends the process at once. */
const SECOND_SIGNAL_EXIT = 130

/** Resolves at the first SIGTERM, SIGINT or SIGHUP; a second one runs `force` and exits. */
export function firstStopSignal(force: () => void): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let signalled = false
    const handle = (signal: NodeJS.Signals) => {
      if (signalled) {
        force()
        process.exit(SECOND_SIGNAL_EXIT)
      }
      signalled = true
      resolve(signal)
    }
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, handle)
  })
}
