import type { Document, Pair, YAMLMap } from 'yaml'
import type { Path } from '../faults.js'
import { yaml } from '../parsers.js'
import { type Change, lineStart, nest, nextLine, type Spans, splice } from './change.js'

const STYLE = { lineWidth: 0 } as const

/** In the text itself, where maps are written as blocks: everything else stays as it is, to the byte. */
export function writeYaml(text: string, { path, value }: Change): string | null {
  const document = yaml().parseDocument(text)
  if (document.contents === null) {
    if (value === undefined) return null
    return `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${yaml().stringify(nest(path, value), STYLE)}`
  }
  let node: unknown = document.contents
  let owner: Pair | undefined
  for (const [depth, key] of path.entries()) {
    if (isEmpty(node) && owner && value !== undefined)
      return fillEmpty(text, owner, nest(path.slice(depth), value))
    if (!yaml().isMap(node) || node.flow) return null
    const pair: Pair | undefined = pairOf(node, key)
    if (!pair) {
      return value === undefined ? null : addPair(text, node, { [key]: nest(path.slice(depth + 1), value) })
    }
    if (depth === path.length - 1 && value === undefined) return cutPair(text, node, pair, owner)
    owner = pair
    node = pair.value
  }
  const range = rangeOf(node)
  if (!yaml().isScalar(node) || !range) return null
  return splice(text, range[0], range[1], yaml().stringify(value, STYLE).trimEnd())
}

/** By way of the document, for maps in braces: comments are kept, spacing may change. */
export function rewriteYaml(text: string, { path, value }: Change): string | null {
  const document = yaml().parseDocument(text)
  try {
    if (value === undefined) document.deleteIn(path)
    else document.setIn(path, document.createNode(value))
    return document.toString(STYLE)
  } catch {
    return null
  }
}

export function yamlSpans(text: string): Spans {
  const document: Document = yaml().parseDocument(text, { uniqueKeys: false })
  return (path: Path) => {
    let node: unknown = document.contents
    for (const key of path) {
      if (yaml().isMap(node)) node = pairOf(node, key)?.value
      else node = yaml().isSeq(node) ? node.items[Number(key)] : undefined
    }
    const range = rangeOf(node)
    return range && [range[0], range[1]]
  }
}

function pairOf(map: YAMLMap, key: string | number): Pair | undefined {
  return map.items.findLast(pair => String(pair.key) === String(key))
}

/** Start, end of the value, end with what trails it. */
function rangeOf(node: unknown): readonly [number, number, number] | undefined {
  return (node as { range?: readonly [number, number, number] | null } | null | undefined)?.range ?? undefined
}

/** `key:` with nothing behind it. */
function isEmpty(node: unknown): boolean {
  return node === null || (yaml().isScalar(node) && node.value === null && (node.source ?? '') === '')
}

/** Behind the line on which the pair ends; comments below it are not its own. */
function endOfPair(text: string, pair: Pair): number {
  const end = rangeOf(pair.value)?.[1] ?? rangeOf(pair.key)?.[1] ?? text.length
  return text[end - 1] === '\n' ? end : nextLine(text, end)
}

function addPair(text: string, map: YAMLMap, added: unknown): string | null {
  const [first] = map.items
  const last = map.items.at(-1)
  const start = rangeOf(first?.key)?.[0]
  if (!last || start === undefined) return null
  return insertLines(text, endOfPair(text, last), text.slice(lineStart(text, start), start), added)
}

function fillEmpty(text: string, owner: Pair, added: unknown): string | null {
  const range = rangeOf(owner.key)
  if (!range) return null
  return insertLines(
    text,
    nextLine(text, range[1]),
    `${text.slice(lineStart(text, range[0]), range[0])}  `,
    added,
  )
}

function insertLines(text: string, at: number, indent: string, added: unknown): string | null {
  if (indent.trim() !== '') return null
  const lines = yaml()
    .stringify(added, STYLE)
    .replace(/^(?=.)/gm, indent)
  const before = text.slice(0, at)
  return `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${lines}${text.slice(at)}`
}

function cutPair(text: string, map: YAMLMap, pair: Pair, owner: Pair | undefined): string | null {
  const start = rangeOf(pair.key)?.[0]
  if (start === undefined) return null
  const cut = splice(text, lineStart(text, start), endOfPair(text, pair), '')
  if (map.items.length > 1) return cut
  const colon = text.indexOf(':', rangeOf(owner?.key)?.[1] ?? text.length)
  return colon < 0 ? null : splice(cut, colon + 1, colon + 1, ' {}')
}
