// Raw slices of valid JSON text, so that the fake can echo numbers and key order exactly as they came.

/** The raw text of one member of the object at `text`; undefined when it is absent. The last one wins. */
export function rawMember(text, key) {
  let at = skipSpace(text, skipSpace(text, 0) + 1)
  let found
  while (at < text.length && text[at] !== '}') {
    const keyEnd = endOfString(text, at)
    const start = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const end = endOfValue(text, start)
    if (JSON.parse(text.slice(at, keyEnd)) === key) found = text.slice(start, end)
    at = skipSpace(text, end)
    if (text[at] === ',') at = skipSpace(text, at + 1)
  }
  return found
}

/** Follows a path of keys; undefined as soon as one is missing or not an object. */
export function rawAt(text, ...path) {
  let current = text
  for (const key of path) {
    if (current === undefined || current.trimStart()[0] !== '{') return undefined
    current = rawMember(current, key)
  }
  return current
}

/** Puts raw members in front of those of a raw object, unless they are there already. */
export function withMembers(object, members) {
  const missing = members.filter(([key]) => rawMember(object, key) === undefined)
  if (missing.length === 0) return object
  const front = missing.map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')
  const open = skipSpace(object, 0)
  const empty = object[skipSpace(object, open + 1)] === '}'
  return `${object.slice(0, open + 1)}${front}${empty ? '' : ','}${object.slice(open + 1)}`
}

function skipSpace(text, at) {
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++
  return at
}

function endOfString(text, at) {
  for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++
  return at + 1
}

function endOfValue(text, at) {
  if (text[at] === '"') return endOfString(text, at)
  if (text[at] !== '{' && text[at] !== '[') {
    while (at < text.length && !',}] \n\r\t'.includes(text[at])) at++
    return at
  }
  let depth = 0
  do {
    const char = text[at]
    if (char === '"') {
      at = endOfString(text, at)
      continue
    }
    if (char === '{' || char === '[') depth++
    if (char === '}' || char === ']') depth--
    at++
  } while (depth > 0)
  return at
}
