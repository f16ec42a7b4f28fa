import { createScanner, type Node, parseTree } from 'jsonc-parser'
import type { Path } from '../faults.js'
import { type Change, lineStart, nest, nextLine, type Spans, splice } from './change.js'
import { formatJson } from './format-json.js'

// By number: the package exports them as a const enum, which isolated modules cannot read.
const CLOSE_BRACE = 2
const COMMA = 5
const LINE_COMMENT = 12
const BLOCK_COMMENT = 13
const LINE_BREAK = 14
const TRIVIA = 15
const END = 17

const parse = (text: string) => parseTree(text, [], { allowTrailingComma: true })

export function writeJson(text: string, { path, value }: Change): string | null {
  let node = parse(text)
  for (const [depth, key] of path.entries()) {
    const property = memberOf(node, key)
    if (node?.type !== 'object') return null
    if (!property) {
      return value === undefined
        ? null
        : addProperty(text, node, String(key), nest(path.slice(depth + 1), value))
    }
    if (depth === path.length - 1 && value === undefined) return cutProperty(text, node, property)
    node = property.children?.[1]
  }
  if (!node) return null
  const written = formatJson(value, { unit: unitOf(text), base: indentAt(text, node.offset), inline: false })
  return splice(text, node.offset, endOf(node), written)
}

export function jsonSpans(text: string): Spans {
  const tree = parse(text)
  return (path: Path) => {
    let node = tree
    for (const key of path) {
      node = typeof key === 'number' ? node?.children?.[key] : memberOf(node, key)?.children?.[1]
    }
    return node && [node.offset, endOf(node)]
  }
}

function memberOf(node: Node | undefined, key: string | number): Node | undefined {
  if (node?.type !== 'object') return undefined
  return node.children?.findLast(property => property.children?.[0]?.value === key)
}

const endOf = (node: Node) => node.offset + node.length

function addProperty(text: string, object: Node, key: string, value: unknown): string {
  const unit = unitOf(text)
  const base = indentAt(text, object.offset)
  const write = (indent: string, inline: boolean) =>
    `${JSON.stringify(key)}: ${formatJson(value, { unit, base: indent, inline })}`
  const close = endOf(object) - 1
  const [first] = object.children ?? []
  const last = object.children?.at(-1)
  if (!first || !last) {
    const kept = text.slice(0, close).trimEnd()
    return `${kept}\n${base}${unit}${write(base + unit, false)}\n${base}${text.slice(close)}`
  }
  const comma = commaAfter(text, endOf(last))
  const { end, lineComment } = restOfLine(text, comma ?? endOf(last))
  const inline = !text.slice(object.offset, first.offset).includes('\n') && !lineComment
  const indent = inline ? base : ownIndent(text, first.offset, base + unit)
  const added = `${inline ? ' ' : `\n${indent}`}${write(indent, inline)}${comma === undefined ? '' : ','}`
  // A closing brace on the line of the last property goes to a line of its own behind a comment.
  const before =
    comma === undefined ? splice(text.slice(0, end), endOf(last), endOf(last), ',') : text.slice(0, end)
  return before + added + text.slice(end)
}

function cutProperty(text: string, object: Node, property: Node): string {
  const comma = commaAfter(text, endOf(property))
  const siblings = object.children ?? []
  const previous = siblings[siblings.indexOf(property) - 1]
  const end = restOfLine(text, comma ?? endOf(property)).end
  const from = lineStart(text, property.offset)
  const ownLine = text.slice(from, property.offset).trim() === '' && /^[ \t\r]*(\n|$)/.test(text.slice(end))
  const cut = ownLine
    ? splice(text, from, nextLine(text, end), '')
    : comma === undefined
      ? splice(text, text.slice(0, property.offset).trimEnd().length, endOf(property), '')
      : splice(text, property.offset, comma + (/^[ \t]*/.exec(text.slice(comma))?.[0].length ?? 0), '')
  if (comma !== undefined || !previous) return cut
  // It was the last one: the comma before it goes too.
  const before = commaAfter(text, endOf(previous))
  return before === undefined ? cut : splice(cut, before - 1, before, '')
}

/** The offset behind the next comma, where one comes before anything else. */
function commaAfter(text: string, offset: number): number | undefined {
  const scanner = createScanner(text, false)
  scanner.setPosition(offset)
  for (;;) {
    const token = scanner.scan() as number
    if (token === COMMA) return scanner.getTokenOffset() + 1
    if (token < LINE_COMMENT || token > TRIVIA) return undefined
  }
}

/** Behind the comments that stand on the same line and belong to what is before them. */
function restOfLine(text: string, offset: number): { end: number; lineComment: boolean } {
  const scanner = createScanner(text, false)
  scanner.setPosition(offset)
  let end = offset
  let lineComment = false
  for (;;) {
    const token = scanner.scan() as number
    if (token === LINE_BREAK || token === CLOSE_BRACE || token === END) return { end, lineComment }
    if (token === LINE_COMMENT || token === BLOCK_COMMENT) {
      end = scanner.getTokenOffset() + scanner.getTokenLength()
      lineComment ||= token === LINE_COMMENT
    } else if (token !== TRIVIA) return { end: offset, lineComment: false }
  }
}

/** The white space before what begins its line; `otherwise` for what does not. */
function ownIndent(text: string, offset: number, otherwise: string): string {
  const before = text.slice(lineStart(text, offset), offset)
  return before.trim() === '' ? before : otherwise
}

function indentAt(text: string, offset: number): string {
  return /^[ \t]*/.exec(text.slice(lineStart(text, offset)))?.[0] ?? ''
}

/** One step of indentation, as the first property at the top has it. */
function unitOf(text: string): string {
  const first = parse(text)?.children?.[0]
  const indent = first ? ownIndent(text, first.offset, '') : ''
  return indent === '' ? '  ' : indent
}
