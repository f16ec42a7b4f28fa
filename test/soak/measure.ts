import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ensureBuilt } from '../kit/build.js'
import { runFolder } from '../kit/run-folder.js'

const PROGRAM = fileURLToPath(new URL('./gateway.mjs', import.meta.url))

export interface Holding {
  readonly rss: number
  readonly heapUsed: number
  readonly fds: number
  /** Active handles and timers by kind. */
  readonly resources: Readonly<Record<string, number>>
  /** Errors that nobody caught. */
  readonly faults: readonly string[]
}

/** A gateway in a process of its own that can be asked what it holds. */
export class MeasuredGateway {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
  ) {}

  static async start(config: unknown): Promise<MeasuredGateway> {
    await ensureBuilt()
    const child = fork(PROGRAM, [JSON.stringify(config)], {
      execArgv: ['--expose-gc'],
      env: { ...process.env, HOLDFAST_TEST_RUN: runFolder() },
    })
    const [{ url }] = (await once(child, 'message')) as [{ url: string }]
    return new MeasuredGateway(child, url.endsWith('/mcp') ? url : `${url.replace(/\/$/, '')}/mcp`)
  }

  async measure(): Promise<Holding> {
    const answer = once(this.child, 'message')
    this.child.send('measure')
    return ((await answer) as [Holding])[0]
  }

  /** Direct children of the gateway. */
  children(): number {
    return readdirSync('/proc').filter(entry => {
      try {
        const stat = readFileSync(`/proc/${Number(entry)}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]) === this.child.pid
      } catch {
        return false
      }
    }).length
  }

  async stop(): Promise<void> {
    const gone = once(this.child, 'exit')
    this.child.send('stop')
    await gone
  }
}
