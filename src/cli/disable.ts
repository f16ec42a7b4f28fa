import { type ActOptions, act, tell } from './act.js'

/** Ends a server and refuses calls to it; until the gateway ends. */
export async function disable(name: string, options: ActOptions): Promise<number> {
  return tell(await act('disable', name, options), options)
}
