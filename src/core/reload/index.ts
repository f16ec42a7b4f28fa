/**
 * core/reload: (running specs, wanted specs) -> what has to be done to whom. It compares effective values, so that the
 * order of keys, comments and defaults written out change nothing; it does nothing itself.
 */
export * from './changes.js'
export * from './plan.js'
export * from './same.js'
