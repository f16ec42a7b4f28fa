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
