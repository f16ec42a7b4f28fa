/** Exit codes, after sysexits.h where there is one. */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** EX_UNAVAILABLE: the gateway or the server cannot be reached. */
  unreachable: 69,
  /** EX_CONFIG: a bad config, or an address that must not or cannot be listened on. */
  config: 78,
} as const

/** Ends a command with a message on stderr and an exit code; nothing is a stack trace. */
export class CommandFailure extends Error {
  constructor(
    readonly exitCode: number,
    message: string,
  ) {
    super(message)
  }
}
