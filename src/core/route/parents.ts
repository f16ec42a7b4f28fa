/** Deeper nesting than this is no resource of a resource. */
const MOST = 64

/**
 * The URIs that `uri` may be a part of, the nearest first: a server may name a part of the resource that somebody
 * subscribed to (`notes://7/title` of `notes://7`).
 */
export function parentsOf(uri: string): readonly string[] {
  const parents: string[] = []
  for (let at = uri.length - 1; at > 0 && parents.length < MOST; at -= 1) {
    const sign = uri[at]
    if (sign !== '/' && sign !== '?' && sign !== '#') continue
    if (at < uri.length - 1) parents.push(uri.slice(0, at + 1))
    parents.push(uri.slice(0, at))
  }
  return parents
}
