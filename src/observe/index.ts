/**
 * observe: what the gateway tells about itself. Log lines and the tails of the servers' stderr; it decides nothing.
 */
export * from './log.js'
export * from './start-progress.js'
export * from './stderr-tails.js'
export * from './transitions.js'
