import { LIMITS } from '../../model/index.js'

const SEPARATOR = '__'
const HASH_LENGTH = 8
/** What is left of a name in front of its hash. */
const CUT_LENGTH = LIMITS.publicName - HASH_LENGTH - 1

/**
 * The name under which clients see a tool or prompt: `PREFIX__NAME`, or NAME without prefix. Characters that clients
 * refuse become `_`, and a name that had to be changed or cut gets a hash of the native one, so that it stays unique
 * and the same across restarts.
 */
export function publicName(prefix: string, native: string): string {
  const full = startOf(prefix) + native
  const safe = clean(full)
  if (safe === full && full.length <= LIMITS.publicName) return full
  const hash = stableHash(`${prefix}\0${native}`)
  return `${safe.slice(0, CUT_LENGTH)}_${hash}`
}

/** True when a server with this prefix could have a component of that public name, a cut or cleaned one included. */
export function couldOwnName(prefix: string, name: string): boolean {
  return name.startsWith(clean(startOf(prefix)).slice(0, CUT_LENGTH))
}

function clean(name: string): string {
  return name.replace(/[^A-Za-z0-9_.-]/g, '_')
}

function startOf(prefix: string): string {
  return prefix === '' ? '' : prefix + SEPARATOR
}

/** cyrb53 (public domain), 32 bits of it: not for secrets, only for telling names apart. */
export function stableHash(text: string): string {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i)
    high = Math.imul(high ^ code, 2654435761)
    low = Math.imul(low ^ code, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  return (high >>> 0).toString(16).padStart(HASH_LENGTH, '0')
}
