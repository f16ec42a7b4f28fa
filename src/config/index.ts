/**
 * config: text to effective values, or to faults that name server, key, line and fix. It validates everything at once
 * and starts nothing.
 * edit/ changes a text and keeps how it is written.
 */

export {
  type ConfigText,
  checkChanges,
  MASK,
  NotSaved,
  openText,
  type Revision,
  saveText,
  serverChange,
  switchChanges,
} from './edit/index.js'
export type { Fault, GatewaySettings } from './faults.js'
export { type FoundConfig, findConfig } from './find.js'
export { jsonSchema } from './json-schema.js'
export { loadConfig, loadConfigObject } from './load.js'
export { type ConfigReading, isMisconfigured, readConfig, readConfigObject, type SourceFile } from './read.js'
export { nameProblem } from './read-servers.js'
export { placeOf, renderFaults } from './render.js'
export { nearestKey } from './suggest.js'
