import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import type { Path } from './faults.js'
import { LineIndex } from './locate.js'
import { duplicateFault, type Parsed, syntaxFault, unparsable } from './parsed.js'

/** What follows a first fault is mostly its echo. */
const MOST_SHOWN = 5

type OnDuplicate = (key: Node, path: Path) => void

export function parseJson(text: string): Parsed {
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { allowTrailingComma: true })
  const lines = new LineIndex(text)
  const faults = errors
    .slice(0, MOST_SHOWN)
    .map(({ error, offset }) => syntaxFault(`not valid JSON: ${saidOf(error)}`, lines.at(offset)))
  if (!tree || faults.length > 0) return unparsable(faults)
  const duplicates: Parsed['faults'][number][] = []
  const value = plainValue(tree, [], (key, path) =>
    duplicates.push(duplicateFault(path, lines.at(key.offset))),
  )
  const members = new Members()
  return {
    value,
    faults: duplicates,
    locate: path => lines.at(walk(tree, path, members).offset),
    keysOf: path => {
      const { node } = walk(tree, path, members)
      if (node?.type !== 'object') return undefined
      return [...new Set((node.children ?? []).map(property => String(property.children?.[0]?.value)))]
    },
  }
}

/** `CommaExpected` as words. */
function saidOf(error: number): string {
  return printParseErrorCode(error)
    .replace(/([A-Z])/g, ' $1')
    .trim()
    .toLowerCase()
}

function plainValue(node: Node, path: Path, onDuplicate: OnDuplicate): unknown {
  if (node.type === 'array')
    return (node.children ?? []).map((child, index) => plainValue(child, [...path, index], onDuplicate))
  if (node.type !== 'object') return node.value
  const object: Record<string, unknown> = Object.create(null)
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? []
    if (!key || !value) continue
    const name = String(key.value)
    const inner = [...path, name]
    if (name in object) onDuplicate(key, inner)
    object[name] = plainValue(value, inner, onDuplicate)
  }
  return object
}

/** The properties of objects by key: looking through thousands of them for each fault would take minutes. */
class Members {
  readonly #known = new WeakMap<Node, ReadonlyMap<unknown, Node>>()

  /** Of a key that stands twice, the last one. */
  find(object: Node | undefined, key: string): Node | undefined {
    if (!object) return undefined
    let found = this.#known.get(object)
    if (!found) {
      found = new Map((object.children ?? []).map(property => [property.children?.[0]?.value, property]))
      this.#known.set(object, found)
    }
    return found.get(key)
  }
}

/** The node at a path, and the offset of its key; of the nearest parent where it is absent. */
function walk(tree: Node, path: Path, members: Members): { node: Node | undefined; offset: number } {
  let node: Node | undefined = tree
  let offset = tree.offset
  for (const part of path) {
    if (typeof part === 'number') {
      node = node?.children?.[part]
      offset = node?.offset ?? offset
    } else {
      const found = members.find(node, part)
      node = found?.children?.[1]
      offset = found?.offset ?? offset
    }
  }
  return { node, offset }
}
