/**
 * core/health: may traffic enter (breaker), is the server well (probes, verdict), or is it us (suspicion). Pure; it
 * knows neither lifecycle nor lists.
 */
export * from './breaker.js'
export * from './probes.js'
export * from './suspicion.js'
export * from './verdict.js'
export * from './window.js'
