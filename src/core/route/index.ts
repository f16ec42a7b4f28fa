/**
 * core/route: (snapshot, target) -> who owns it, or who might. Look-up is by registry, never by splitting a name; it
 * does not know whether the owner can be reached.
 */

export * from './parents.js'
export * from './resolve.js'
export * from './target.js'
export { couldHave } from './undecided.js'
