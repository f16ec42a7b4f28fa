import { type ActOptions, actAndWatch, tell } from './act.js'

/** Ends a server, forgets its failures and starts it anew. */
export async function restart(name: string, options: ActOptions): Promise<number> {
  return tell(await actAndWatch('restart', name, options), options)
}
