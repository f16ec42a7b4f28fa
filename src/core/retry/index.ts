/**
 * core/retry: whether a request that did not come through may be sent again. What may have run is never repeated unless
 * repeating is known to be harmless.
 */
export * from './budget.js'
export * from './decide.js'
export * from './safety.js'
