import type { App } from '../app.js'
import type { GatewayStatus } from '../control/index.js'
import type { LogRecord } from '../observe/index.js'
import { renderTable } from './status-table.js'
import { painter, widthOf } from './terminal.js'

/** On a pipe the table is printed once, when every server has come up or failed, or after this long. */
const PATIENCE_MS = 8_000
const REDRAW_MS = 100

/** The table of upstreams that fills in as they come up. On a terminal it is redrawn until all have settled. */
export class LiveTable {
  #lines = 0
  #over = false
  #timer: NodeJS.Timeout | null = null
  #deadline: NodeJS.Timeout | null = null
  #leave: (() => void) | null = null

  constructor(private readonly out: NodeJS.WriteStream) {}

  follow(app: App): void {
    this.#leave = app.onCommit(() => this.#soon(app))
    this.#deadline = setTimeout(() => this.#draw(app, true), PATIENCE_MS)
    this.#soon(app)
  }

  /** While the table tells it, the log does not tell it again. */
  holdsBack(record: LogRecord): boolean {
    return !this.#over && record.upstream !== undefined
  }

  end(): void {
    this.#over = true
    this.#leave?.()
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#deadline) clearTimeout(this.#deadline)
  }

  #soon(app: App): void {
    if (this.#over) return
    this.#timer ??= setTimeout(() => {
      this.#timer = null
      this.#draw(app, false)
    }, REDRAW_MS)
  }

  #draw(app: App, last: boolean): void {
    if (this.#over) return
    const done = last || hasSettled(app)
    if (this.out.isTTY || done) this.#print(app.status())
    if (done) this.end()
  }

  #print(status: GatewayStatus): void {
    const lines = renderTable(status.upstreams, painter(this.out), { columns: widthOf(this.out) })
    const up = this.#lines > 0 ? `\x1b[${this.#lines}A\x1b[0J` : ''
    this.out.write(`${up}${lines.join('\n')}\n`)
    this.#lines = this.out.isTTY ? lines.length : 0
  }
}

function hasSettled(app: App): boolean {
  return [...app.runtime.snapshot.upstreams.values()].every(view => view.settled)
}
