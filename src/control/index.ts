/**
 * control: what people and tools may read of a running gateway, and do to it with the control token. Read models,
 * transitions and their HTTP routes; it decides nothing about servers itself.
 */
export * from './routes.js'
export * from './status.js'
export * from './transitions.js'
