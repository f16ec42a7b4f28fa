/**
 * config: text to effective values, or to faults that name server, key, line and fix. It validates everything at once
 * and starts nothing.
 */
export type { Fault, GatewaySettings } from './faults.js'
export { type FoundConfig, findConfig } from './find.js'
export { loadConfig } from './load.js'
export { type ConfigReading, isMisconfigured, readConfig, readConfigObject } from './read.js'
export { renderFaults } from './render.js'
export { jsonSchema } from './schema.js'
