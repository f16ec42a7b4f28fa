/**
 * control: what people and tools may read of a running gateway. Read models and their HTTP routes; it changes nothing.
 */
export * from './routes.js'
export * from './status.js'
