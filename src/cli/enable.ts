import { type ActOptions, actAndWatch, tell } from './act.js'

/** Takes a disabled server back in and starts it; until the gateway ends. */
export async function enable(name: string, options: ActOptions): Promise<number> {
  return tell(await actAndWatch('enable', name, options), options)
}
