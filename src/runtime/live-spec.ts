import type { UpstreamSpec } from '../model/index.js'

/** The same object with other values: whoever holds it sees them. @returns the way back */
export function revise(live: UpstreamSpec, values: UpstreamSpec): () => void {
  const before = { ...live }
  write(live, values)
  return () => write(live, before)
}

/** What stands there no more has its default again. */
function write(live: UpstreamSpec, values: UpstreamSpec): void {
  for (const key of Object.keys(live)) if (!(key in values)) Reflect.deleteProperty(live, key)
  Object.assign(live, values)
}
