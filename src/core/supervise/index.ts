/**
 * core/supervise: what one upstream's supervisor does next. A table of (state, event) -> (state, effects).
 *
 * It knows neither clock nor process: the runtime feeds it events with the time and runs the effects.
 */
export * from './backoff.js'
export * from './machine.js'
