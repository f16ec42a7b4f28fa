import type { Component } from '../../model/index.js'

/**
 * `after`, with the very objects of `before` for whatever did not change, and `before` itself where nothing did: what was
 * made of them need not be made again.
 */
export function sameComponents(
  before: readonly Component[],
  after: readonly Component[],
): readonly Component[] {
  const known = new Map(before.map(component => [component.key, component]))
  const kept = after.map(component => {
    const old = known.get(component.key)
    return old && sameBytes(old.bytes, component.bytes) ? old : component
  })
  return sameItems(before, kept) ? before : kept
}

/** The very same components in the same order. */
export function sameItems(before: readonly Component[], after: readonly Component[]): boolean {
  if (before === after) return true
  return before.length === after.length && before.every((component, index) => component === after[index])
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false
  return true
}
