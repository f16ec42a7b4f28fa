import type { App, Job, Message, RequestFault } from './app.js'

/** The way back from a server to the one who asked, for one request. */
export interface Lane {
  /** Runs later, unless the server or the request is gone by then. */
  after(ms: number, fn: () => void): void
  /** Something before the answer. */
  interim(message: object): void
  answer(message: object): void
  /**
   * Whatever breaks without an answer, in the words of this kind of server.
   * @param answer what would have been said
   */
  breaks(fault: RequestFault, answer?: object): void
  /** Puts a question to the client; null where this server cannot. */
  readonly ask: ((respond: (accepted: boolean) => void) => void) | null
}

const MINUTES = 60_000

/** Does one request from beginning to end, with what goes wrong in it. */
export function work(app: App, message: Message, fault: RequestFault | null, lane: Lane): void {
  const { id } = message
  const about = app.about(message) ?? app.needsInput(message)
  if (about) return answerWith(app, id, about, fault, lane)
  const job = app.job(message)
  if (fault !== null && endsBefore(fault)) return lane.breaks(fault)
  const token = (message.params?.['_meta'] as Record<string, unknown> | undefined)?.['progressToken']
  if (fault === 'hang' && app.dice.chance(0.5)) return
  if (job.effect && job.effectFirst && !job.asks) app.ran(job.nonce)
  if (token !== undefined) reportProgress(job, token, lane)
  lane.after(job.ms, () => {
    if (fault === 'hang') return
    if (!job.asks || !lane.ask) return finish(app, id, job, fault, lane, !job.effectFirst || job.asks)
    lane.ask(accepted => finish(app, id, job, fault, lane, accepted))
  })
}

function finish(
  app: App,
  id: unknown,
  job: Job,
  fault: RequestFault | null,
  lane: Lane,
  effect: boolean,
): void {
  if (job.effect && effect) app.ran(job.nonce)
  answerWith(app, id, { result: job.result }, fault, lane)
}

function reportProgress({ ms, progress, nonce }: Job, token: unknown, lane: Lane): void {
  for (let step = 1; step <= progress; step += 1) {
    lane.after((ms * step) / (progress + 1), () =>
      lane.interim({
        jsonrpc: '2.0',
        method: 'notifications/progress',
        params: { progressToken: token, progress: step, message: nonce },
      }),
    )
  }
}

/** Nothing was done. */
function endsBefore(fault: RequestFault): boolean {
  return ['die-before', 'status-before', 'rate', 'lost-session', 'reset-before'].includes(fault)
}

function answerWith(
  app: App,
  id: unknown,
  body: Record<string, unknown>,
  fault: RequestFault | null,
  lane: Lane,
): void {
  const message = { jsonrpc: '2.0', id, ...body }
  switch (fault) {
    case null:
      return lane.answer(message)
    case 'hang':
      return
    case 'late':
      return lane.after(app.dice.between(MINUTES / 2, 3 * MINUTES), () => lane.answer(message))
    case 'twice':
      lane.interim(message)
      return lane.answer(message)
    case 'other-id':
      return lane.answer({ ...message, id: 900_000_000 + app.dice.between(0, 1_000) })
    case 'text-id':
      return lane.answer({ ...message, id: String(id) })
    case 'both-members':
      return lane.answer({ ...message, ...body, error: { code: 1, message: 'both' }, result: {} })
    default:
      return lane.breaks(fault, message)
  }
}
