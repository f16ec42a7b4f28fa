import { spawn } from 'node:child_process'
import type { CommandLine } from './clients.js'
import { gatewayEnvironment } from './gateway.js'
import { PATIENCE_MS } from './until.js'

/** A stdio server that is written to and read from line by line, byte for byte. */
export interface RawPipe {
  readonly pid: number
  /** Writes text as it is; a line needs its own LF. */
  write(text: string): void
  /** The next line of stdout without its LF; null after the end. */
  next(timeoutMs?: number): Promise<string | null>
  readonly stderr: string
  /** Ends stdin and resolves with the exit code; kills the process when it stays. */
  close(timeoutMs?: number): Promise<number | null>
  signal(signal: NodeJS.Signals): void
  /** Ends stdin. */
  endInput(): void
  /** Reads no more: its next write finds a broken pipe. */
  closeOutput(): void
  /** Its exit code; null when a signal ended it. */
  readonly exit: Promise<number | null>
}

export function openPipe(line: CommandLine): RawPipe {
  const child = spawn(line.command, [...line.args], {
    env: gatewayEnvironment(),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const queue: (string | null)[] = []
  const waiting: ((line: string | null) => void)[] = []
  const push = (item: string | null): void => {
    const waiter = waiting.shift()
    if (waiter) waiter(item)
    else queue.push(item)
  }
  let rest = ''
  let stderr = ''
  child.stdin.on('error', () => {})
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const one of lines) push(one)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const exit = new Promise<number | null>(resolve => child.once('close', resolve))
  void exit.then(() => push(null))
  return {
    pid: child.pid ?? 0,
    write: text => void child.stdin.write(text),
    get stderr() {
      return stderr
    },
    next: (timeoutMs = PATIENCE_MS) => takeNext(queue, waiting, timeoutMs, () => stderr),
    signal: signal => void child.kill(signal),
    endInput: () => void child.stdin.end(),
    closeOutput: () => void child.stdout.destroy(),
    exit,
    close: async (timeoutMs = 10_000) => {
      child.stdin.end()
      const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
      const code = await exit
      clearTimeout(timer)
      return code
    },
  }
}

function takeNext(
  queue: (string | null)[],
  waiting: ((line: string | null) => void)[],
  timeoutMs: number,
  stderr: () => string,
): Promise<string | null> {
  const ready = queue.shift()
  if (ready !== undefined) return Promise.resolve(ready)
  return new Promise((resolve, reject) => {
    const waiter = (line: string | null): void => {
      clearTimeout(timer)
      resolve(line)
    }
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(waiter), 1)
      reject(new Error(`No line came in ${timeoutMs} ms. stderr:\n${stderr()}`))
    }, timeoutMs)
    waiting.push(waiter)
  })
}
