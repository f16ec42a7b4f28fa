/**
 * model: the neutral words of the gateway (calls, outcomes, components, views, errors, limits).
 *
 * It decides nothing and imports nothing; every other room may import it.
 */
export * from './bytes.js'
export * from './call.js'
export * from './component.js'
export * from './eras/versions.js'
export * from './errors.js'
export * from './limits.js'
export * from './spec.js'
export * from './view.js'
