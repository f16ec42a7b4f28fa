/**
 * core/catalog: what all upstreams offer together: names, order, collisions, filters, what is missing. Pure decisions
 * over views; it never fetches, renders or parses a payload.
 */
export * from './canonical.js'
export * from './describe.js'
export * from './diff.js'
export * from './filter.js'
export * from './freshness.js'
export * from './invisible.js'
export * from './lookalikes.js'
export * from './merge.js'
export * from './names.js'
export * from './pins.js'
export * from './template.js'
export * from './unavailable.js'
export * from './uris.js'
