import { dirname, join } from 'node:path/posix'
import { describe, expect, test } from 'vitest'
import { blank, productFiles } from '../kit/sources.js'

/** Which rooms a room may import, besides itself. Edges meet the runtime through its ports only. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  model: [],
  core: ['model'],
  wire: ['model'],
  runtime: ['model', 'core', 'wire'],
  upstream: ['model', 'core', 'wire', 'runtime/ports'],
  downstream: ['model', 'core', 'wire', 'runtime/ports'],
  host: ['model', 'runtime/ports'],
  control: ['model', 'core', 'wire', 'runtime/ports'],
  observe: ['model'],
  config: ['model'],
}

/** These see everything: the composition root, the public API, the command line. */
const EVERYWHERE = new Set(['app', 'index', 'library', 'cli'])

/** These stand beside the composition root and see only what every edge sees. */
const ROOT_EDGES: Readonly<Record<string, readonly string[]>> = {
  server: ['model'],
  version: [],
  hold: [],
}

interface Import {
  readonly from: string
  readonly specifier: string
  /** The imported file inside src, without extension; null for a package or a node module. */
  readonly target: string | null
  /** `import type`: gone at run time. */
  readonly typeOnly: boolean
}

const files = productFiles()
const imports = files.flatMap(({ path, text }) => importsOf(path, text))

function importsOf(path: string, text: string): readonly Import[] {
  const code = blank(text, { strings: false })
  const pattern =
    /(?:^|\n)\s*(?:import|export)\b(?:[^'"`;]*?\bfrom)?\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g
  return [...code.matchAll(pattern)].map(([whole, fixed, dynamic]) => {
    const specifier = fixed ?? dynamic ?? ''
    const local = specifier.startsWith('.')
    const target = local
      ? join(dirname(path), specifier)
          .replace(/\.js$/, '')
          .replace(/^src\//, '')
      : null
    return { from: path, specifier, target, typeOnly: /^\s*(?:import|export)\s+type\b/.test(whole) }
  })
}

function roomOf(file: string): string {
  return (
    file
      .replace(/^src\//, '')
      .replace(/\.ts$/, '')
      .split('/')[0] ?? ''
  )
}

function isAllowed(from: string, target: string): boolean {
  const room = roomOf(from)
  if (EVERYWHERE.has(room) || roomOf(target) === room) return true
  const allowed = ALLOWED[room] ?? ROOT_EDGES[room] ?? []
  return allowed.some(one => target === one || target.startsWith(`${one}/`))
}

describe('the import rule', () => {
  test('finds the imports at all', () => {
    expect(imports.length).toBeGreaterThan(50)
  })

  test('knows every room', () => {
    const unknown = files
      .map(({ path }) => roomOf(path))
      .filter(room => !(room in ALLOWED) && !(room in ROOT_EDGES) && !EVERYWHERE.has(room))
    expect([...new Set(unknown)]).toEqual([])
  })

  test('lets each room import only the rooms below it', () => {
    const wrong = imports.filter(({ from, target }) => target !== null && !isAllowed(from, target))
    expect(wrong.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([])
  })

  test('keeps the pure rooms free of Node and of packages', () => {
    const impure = imports.filter(
      ({ from, target }) => target === null && ['model', 'core', 'wire'].includes(roomOf(from)),
    )
    expect(impure.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([])
  })

  test('keeps the official SDK off every path', () => {
    const sdk = imports.filter(({ specifier }) => specifier.startsWith('@modelcontextprotocol/'))
    expect(sdk.map(({ from, specifier }) => `${from} imports ${specifier}`)).toEqual([])
  })

  test('allows no circle at run time', () => {
    expect(findCircle()).toEqual([])
  })
})

/** The files of one import circle, or nothing. */
function findCircle(): readonly string[] {
  const graph = new Map<string, string[]>()
  for (const { from, target, typeOnly } of imports) {
    const source = from.replace(/^src\//, '').replace(/\.ts$/, '')
    if (target !== null && !typeOnly) graph.set(source, [...(graph.get(source) ?? []), target])
  }
  const done = new Set<string>()
  const visit = (node: string, path: readonly string[]): readonly string[] => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node]
    if (done.has(node)) return []
    for (const next of graph.get(node) ?? []) {
      const circle = visit(next, [...path, node])
      if (circle.length > 0) return circle
    }
    done.add(node)
    return []
  }
  for (const node of graph.keys()) {
    const circle = visit(node, [])
    if (circle.length > 0) return circle
  }
  return []
}
