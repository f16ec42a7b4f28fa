import type { Document, Pair, YAMLError, YAMLMap } from 'yaml'
import type { Fault, Path } from './faults.js'
import {
  duplicateFault,
  type Parsed,
  type Position,
  syntaxFault,
  unparsable,
  withoutPrototypes,
} from './parsed.js'
import { yaml } from './parsers.js'

const MOST_SHOWN = 5
const MOST_ALIASES = 100
const QUOTE_IT = 'put the value in quotes'

/** Told by code: the parser's own words may quote the text, and the text may be a secret. */
const SAID = new Map<string, readonly [message: string, fix?: string]>([
  ['BAD_ALIAS', ['"*" here starts an alias that cannot be read', QUOTE_IT]],
  ['BAD_DQ_ESCAPE', ['a string in double quotes has an unknown escape', 'use single quotes, or write \\\\']],
  ['BAD_INDENT', ['the indentation does not fit', 'line it up with its neighbours']],
  ['BAD_SCALAR_START', ['a plain value starts with a reserved character', QUOTE_IT]],
  ['BLOCK_AS_IMPLICIT_KEY', ['a nested block starts on the line of its key', 'begin it on the next line']],
  ['MISSING_CHAR', ['a quote, bracket, comma, colon or space is missing']],
  ['MULTILINE_IMPLICIT_KEY', ['a key and its ":" are not on one line', 'put them on one line']],
  ['MULTIPLE_DOCS', ['the file holds more than one document', 'keep one, without "---" lines between']],
  ['TAB_AS_INDENT', ['tabs are not allowed as indentation', 'indent with spaces']],
  ['TAG_RESOLVE_FAILED', ['"!" here starts a tag, and this tag is unknown', QUOTE_IT]],
  ['UNEXPECTED_TOKEN', ['something unexpected stands here']],
])

export function parseYaml(text: string): Parsed {
  const counter = new (yaml().LineCounter)()
  const document = yaml().parseDocument(text, {
    lineCounter: counter,
    uniqueKeys: false,
    prettyErrors: false,
    merge: true,
  })
  const place = (offset: number | undefined): Position | undefined => {
    if (offset === undefined) return undefined
    const { line, col } = counter.linePos(offset)
    return { line, column: col }
  }
  // An unknown tag is only a warning to the parser, which then drops the tag: half a password would be used.
  const wrong = [...document.errors, ...document.warnings].slice(0, MOST_SHOWN)
  if (wrong.length > 0) return unparsable(wrong.map(error => explain(error, place(error.pos[0]))))
  const duplicates: Fault[] = []
  findDuplicates(document.contents, [], (path, offset) =>
    duplicates.push(duplicateFault(path, place(offset))),
  )
  const members = new Members()
  try {
    return {
      value: withoutPrototypes(document.toJS({ maxAliasCount: MOST_ALIASES })),
      faults: duplicates,
      locate: path => place(walk(document, path, members).offset),
      keysOf: path => keysAt(walk(document, path, members).node),
    }
  } catch (thrown) {
    if (!(thrown instanceof ReferenceError)) throw thrown
    if (thrown.message.startsWith('Excessive'))
      return unparsable([syntaxFault('its aliases unfold to too much', undefined, 'use fewer aliases')])
    const message = 'not valid YAML: "*" starts an alias here, and nothing above it has that anchor'
    return unparsable([syntaxFault(message, place(firstUnresolved(document)), QUOTE_IT)])
  }
}

function explain({ code }: YAMLError, position: Position | undefined): Fault {
  const [message, fix] = SAID.get(code) ?? ['the syntax is wrong here']
  return syntaxFault(`not valid YAML: ${message}`, position, fix)
}

function findDuplicates(node: unknown, path: Path, report: (path: Path, offset: number) => void): void {
  if (yaml().isSeq(node)) {
    for (const [index, item] of node.items.entries()) findDuplicates(item, [...path, index], report)
  }
  if (!yaml().isMap(node)) return
  const seen = new Set<string>()
  for (const { key, value } of node.items) {
    const name = String(key)
    // Several merges in one map are allowed.
    if (seen.has(name) && name !== '<<') report([...path, name], startOf(key) ?? 0)
    seen.add(name)
    findDuplicates(value, [...path, name], report)
  }
}

/** The pairs of maps by key: looking through thousands of them for each fault would take minutes. */
class Members {
  readonly #known = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>()

  /** Of a key that stands twice, the last one. */
  find(map: YAMLMap, key: string): Pair | undefined {
    let found = this.#known.get(map)
    if (!found) {
      found = new Map(map.items.map(pair => [String(pair.key), pair]))
      this.#known.set(map, found)
    }
    return found.get(key)
  }
}

/** The node at a path, and where it starts; of the nearest parent where it is absent or merged in. */
function walk(
  document: Document,
  path: Path,
  members: Members,
): { node: unknown; offset: number | undefined } {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const part of path) {
    if (yaml().isAlias(node)) node = node.resolve(document)
    if (yaml().isMap(node)) {
      const pair = members.find(node, String(part))
      offset = startOf(pair?.key) ?? offset
      node = pair?.value
    } else if (yaml().isSeq(node)) {
      node = node.items[Number(part)]
      offset = startOf(node) ?? offset
    } else node = undefined
  }
  return { node: yaml().isAlias(node) ? node.resolve(document) : node, offset }
}

function keysAt(node: unknown): readonly string[] | undefined {
  if (!yaml().isMap(node)) return undefined
  const keys = [...new Set(node.items.map(({ key }) => String(key)))]
  // Merged keys stand elsewhere; then the order of the data has to do.
  return keys.includes('<<') ? undefined : keys
}

function startOf(node: unknown): number | undefined {
  return (node as { range?: readonly number[] | null } | undefined | null)?.range?.[0]
}

function firstUnresolved(document: Document): number | undefined {
  const pending: unknown[] = [document.contents]
  for (let node = pending.pop(); pending.length > 0 || node !== undefined; node = pending.pop()) {
    if (yaml().isAlias(node) && !node.resolve(document)) return startOf(node)
    if (yaml().isSeq(node)) pending.push(...node.items)
    if (yaml().isMap(node)) pending.push(...node.items.map(({ value }) => value))
  }
  return undefined
}
