import { type ActOptions, act, tell } from './act.js'

/** Fetches the lists of a server again. */
export async function refresh(name: string, options: ActOptions): Promise<number> {
  return tell(await act('refresh', name, options), options)
}
