import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { parse as parseToml, TomlError } from 'smol-toml'
import { type Document, isAlias, isMap, isSeq, LineCounter, parseDocument } from 'yaml'
import { type Fault, type Path, pathText } from './faults.js'

export type Dialect = 'json' | 'yaml' | 'toml'

export interface Position {
  readonly line: number
  readonly column: number
}

/** A config text as plain data, with the place of each key. Objects have no prototype. */
export interface Parsed {
  /** Undefined when the text is not of its dialect at all. */
  readonly value: unknown
  readonly faults: readonly Fault[]
  locate(path: Path): Position | undefined
}

export function dialectOf(path: string): Dialect {
  if (/\.ya?ml$/i.test(path)) return 'yaml'
  return /\.toml$/i.test(path) ? 'toml' : 'json'
}

export function parseText(text: string, dialect: Dialect): Parsed {
  switch (dialect) {
    case 'json':
      return parseJson(text)
    case 'yaml':
      return parseYaml(text)
    case 'toml':
      return parseTomlText(text)
  }
}

function fault(message: string, fix: string, position: Position | undefined, path: Path = []): Fault {
  const [root, server] = path
  const named = (root === 'mcpServers' || root === 'servers') && path.length > 2 && typeof server === 'string'
  return {
    severity: 'error',
    ...(named ? { server } : {}),
    key: pathText(path),
    ...position,
    message,
    fix,
  }
}

// ---- JSON with comments ----------------------------------------------------------------------------------

function parseJson(text: string): Parsed {
  const errors: ParseError[] = []
  const tree = parseTree(text, errors, { allowTrailingComma: true })
  const lines = new LineIndex(text)
  const faults = errors.slice(0, 5).map(({ error, offset }) => {
    const said = printParseErrorCode(error)
      .replace(/([A-Z])/g, ' $1')
      .trim()
      .toLowerCase()
    return fault(`not valid JSON: ${said}`, 'correct the syntax at this place', lines.at(offset))
  })
  if (!tree || faults.length > 0) return { value: undefined, faults, locate: () => undefined }
  const duplicates: Fault[] = []
  const value = plainJson(tree, [], (node, path) => duplicates.push(duplicate(path, lines.at(node.offset))))
  return { value, faults: duplicates, locate: path => locateJson(tree, path, lines) }
}

function duplicate(path: Path, position: Position | undefined): Fault {
  const key = String(path.at(-1))
  const isServer = path.length === 2 && (path[0] === 'mcpServers' || path[0] === 'servers')
  const what = isServer ? `two servers are named "${key}"` : `the key "${key}" stands here twice`
  return fault(what, isServer ? 'rename or remove one of them' : 'remove one of the two', position, path)
}

function plainJson(node: Node, path: Path, twice: (node: Node, path: Path) => void): unknown {
  if (node.type === 'array')
    return (node.children ?? []).map((child, index) => plainJson(child, [...path, index], twice))
  if (node.type !== 'object') return node.value
  const object: Record<string, unknown> = Object.create(null)
  for (const property of node.children ?? []) {
    const [key, value] = property.children ?? []
    if (!key || !value) continue
    const name = String(key.value)
    const inner = [...path, name]
    if (name in object) twice(key, inner)
    object[name] = plainJson(value, inner, twice)
  }
  return object
}

function locateJson(tree: Node, path: Path, lines: LineIndex): Position | undefined {
  let node: Node | undefined = tree
  let offset = tree.offset
  for (const part of path) {
    if (typeof part === 'number') node = node?.children?.[part]
    else {
      const property: Node | undefined = node?.children?.findLast(
        child => child.children?.[0]?.value === part,
      )
      node = property?.children?.[1]
      offset = property?.offset ?? offset
      continue
    }
    offset = node?.offset ?? offset
  }
  return lines.at(offset)
}

class LineIndex {
  readonly #starts: number[] = [0]

  constructor(text: string) {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1)
  }

  at(offset: number): Position {
    let low = 0
    let high = this.#starts.length - 1
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if ((this.#starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - (this.#starts[low] ?? 0) + 1 }
  }
}

// ---- YAML ------------------------------------------------------------------------------------------------

function parseYaml(text: string): Parsed {
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, uniqueKeys: true, prettyErrors: false })
  const place = (offset: number | undefined): Position | undefined => {
    if (offset === undefined) return undefined
    const { line, col } = counter.linePos(offset)
    return { line, column: col }
  }
  const faults = document.errors.map(error => {
    const fix = error.code === 'DUPLICATE_KEY' ? 'remove one of the two' : 'correct the syntax at this place'
    return fault(`not valid YAML: ${error.message}`, fix, place(error.pos[0]))
  })
  if (faults.length > 0) return { value: undefined, faults, locate: () => undefined }
  return {
    value: withoutPrototypes(document.toJS({ maxAliasCount: 100 })),
    faults: [],
    locate: path => place(offsetIn(document, path)),
  }
}

function offsetIn(document: Document, path: Path): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair = node.items.find(item => String(item.key) === String(part))
      offset = (pair?.key as { range?: number[] } | undefined)?.range?.[0] ?? offset
      node = pair?.value
    } else if (isSeq(node)) {
      node = node.items[Number(part)]
      offset = (node as { range?: number[] } | undefined)?.range?.[0] ?? offset
    }
  }
  return offset
}

// ---- TOML ------------------------------------------------------------------------------------------------

function parseTomlText(text: string): Parsed {
  try {
    return { value: withoutPrototypes(parseToml(text)), faults: [], locate: () => undefined }
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw thrown
    const message = thrown.message.split('\n')[0] ?? 'not valid TOML'
    const position = { line: thrown.line, column: thrown.column }
    return {
      value: undefined,
      faults: [fault(`not valid TOML: ${message}`, 'correct the syntax at this place', position)],
      locate: () => undefined,
    }
  }
}

/** Names such as `__proto__` must be keys like any other. */
export function withoutPrototypes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPrototypes)
  if (typeof value !== 'object' || value === null) return value
  const object: Record<string, unknown> = Object.create(null)
  for (const key of Object.keys(value))
    object[key] = withoutPrototypes((value as Record<string, unknown>)[key])
  return object
}
