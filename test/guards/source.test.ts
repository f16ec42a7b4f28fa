import { describe, expect, test } from 'vitest'
import { blank, productFiles } from '../kit/sources.js'

const MAX_FILE_LINES = 400
const MAX_FUNCTION_LINES = 60

/** Files that may be longer, and functions (`path name`) that may be longer, each with its reason. */
const LONG_FILES: Readonly<Record<string, string>> = {}
const LONG_FUNCTIONS: Readonly<Record<string, string>> = {
  'src/app.ts createApp': 'the composition root: one list of what is wired to what, read from top to bottom',
}

const files = productFiles()

describe('the sources', () => {
  test('name protocol versions only where eras are known', () => {
    const found = files
      .filter(({ path }) => !/\/eras\/|\/classify\.ts$/.test(path))
      .flatMap(({ path, text }) =>
        linesMatching(blank(text, { strings: false }), /20\d\d-\d\d-\d\d/).map(line => `${path}:${line}`),
      )
    expect(found).toEqual([])
  })

  test(`have at most ${MAX_FILE_LINES} lines a file`, () => {
    const long = files
      .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
      .filter(({ path, lines }) => lines > MAX_FILE_LINES && !(path in LONG_FILES))
    expect(long).toEqual([])
  })

  test(`have at most ${MAX_FUNCTION_LINES} lines a function`, () => {
    const long = files
      .flatMap(({ path, text }) => functionsOf(text).map(found => ({ path, ...found })))
      .filter(({ path, name, lines }) => lines > MAX_FUNCTION_LINES && !(`${path} ${name}` in LONG_FUNCTIONS))
    expect(long).toEqual([])
  })

  test('are not excused for a length that they do not have', () => {
    const lengths = files.flatMap(({ path, text }) => [
      { key: path, excess: text.split('\n').length - 1 > MAX_FILE_LINES },
      ...functionsOf(text).map(({ name, lines }) => ({
        key: `${path} ${name}`,
        excess: lines > MAX_FUNCTION_LINES,
      })),
    ])
    const needed = new Set(lengths.filter(({ excess }) => excess).map(({ key }) => key))
    expect(
      [...Object.keys(LONG_FILES), ...Object.keys(LONG_FUNCTIONS)].filter(key => !needed.has(key)),
    ).toEqual([])
  })

  test('print only in the command line', () => {
    const found = files
      .filter(({ path }) => !path.startsWith('src/cli/'))
      .flatMap(({ path, text }) =>
        linesMatching(blank(text, { strings: true }), /\bconsole\./).map(line => `${path}:${line}`),
      )
    expect(found).toEqual([])
  })

  test('keep no marks for later', () => {
    const found = files.flatMap(({ path, text }) =>
      linesMatching(text, /\b(?:TODO|FIXME|XXX)\b/).map(line => `${path}:${line}`),
    )
    expect(found).toEqual([])
  })
})

describe('the measure of functions', () => {
  test('finds declarations, methods and arrows, and looks past strings', () => {
    const text = [
      'export function first(a: { b: string }): void {',
      "  const s = '}'",
      '}',
      'class C {',
      '  async second(): Promise<void> {',
      '    if (a) {',
      '    }',
      '  }',
      '}',
      'const third = (x: number): number => {',
      '  return x',
      '}',
    ].join('\n')
    expect(functionsOf(text)).toEqual([
      { name: 'first', lines: 3 },
      { name: 'second', lines: 4 },
      { name: 'third', lines: 3 },
    ])
  })
})

function linesMatching(text: string, pattern: RegExp): readonly number[] {
  return text.split('\n').flatMap((line, index) => (pattern.test(line) ? [index + 1] : []))
}

const NOT_FUNCTIONS = new Set(['if', 'for', 'while', 'switch', 'catch', 'with', 'return', 'super'])

/** Functions with a body in braces, by the line that opens the body and its closing brace. */
function functionsOf(text: string): readonly { readonly name: string; readonly lines: number }[] {
  const code = blank(text, { strings: true })
  const heads = [
    /\bfunction\*?\s+([\w$]+)/g,
    /^[ \t]+(?:(?:public|private|protected|static|override|async|get|set)\s+)*\*?(#?[\w$]+)\s*(?:<[^>\n]*>)?\(/gm,
    /\b(?:const|let)\s+([\w$]+)[^=\n]*=\s*(?:async\s*)?(?:<[^>\n]*>)?\([^=]*?\)\s*(?::[^=\n]+)?=>\s*\{/g,
  ]
  return heads
    .flatMap(head => [...code.matchAll(head)])
    .filter(([, name = '']) => !NOT_FUNCTIONS.has(name))
    .sort((a, b) => a.index - b.index)
    .flatMap(match => measure(code, match))
}

function measure(code: string, match: RegExpMatchArray): { name: string; lines: number }[] {
  const start = match.index ?? 0
  const arrow = match[0].endsWith('{')
  const open = arrow ? start + match[0].length - 1 : bodyAfter(code, code.indexOf('(', start))
  if (open < 0) return []
  const end = closing(code, open, '{', '}')
  return [{ name: match[1] ?? '', lines: code.slice(start, end).trimStart().split('\n').length }]
}

/** Where the body opens after the parameter list at `at`; -1 for a call or a declaration without body. */
function bodyAfter(code: string, at: number): number {
  if (at < 0) return -1
  const rest = code.slice(closing(code, at, '(', ')'))
  // A return type may hold braces of its own; the body's brace ends its line.
  const match = /^\s*(?::[^\n;=]*?)?\{[ \t]*\n/.exec(rest)
  return match ? code.length - rest.length + match[0].lastIndexOf('{') : -1
}

/** The position behind the bracket that closes the one at `at`. */
function closing(code: string, at: number, open: string, close: string): number {
  let depth = 0
  for (let index = at; index < code.length; index++) {
    if (code[index] === open) depth++
    if (code[index] === close && --depth === 0) return index + 1
  }
  return code.length
}
