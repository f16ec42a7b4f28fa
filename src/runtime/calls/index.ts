/**
 * runtime/calls: the fixed stages of one call. Read its target, find the owner in one snapshot, wait for an owner that
 * is still starting, attempt, map names back, answer once.
 */
export * from './start.js'
