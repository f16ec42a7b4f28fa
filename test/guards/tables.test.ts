import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ERRORS, LIMITS } from '../../src/model/index.js'
import { ROOT } from '../kit/build.js'
import { testFiles } from '../kit/sources.js'

function read(path: string): string {
  return existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), 'utf8') : ''
}

/** The rows of a table in Markdown, cells trimmed and without code marks. */
function tableRows(markdown: string): readonly (readonly string[])[] {
  return markdown
    .split('\n')
    .filter(line => line.startsWith('| `'))
    .map(line =>
      line
        .split('|')
        .slice(1, -1)
        .map(cell => cell.trim().replaceAll('`', '')),
    )
}

describe('docs/errors.md', () => {
  const rows = tableRows(read('docs/errors.md'))

  test('describes every error code as the table in the sources has it', () => {
    const wanted = Object.entries(ERRORS).map(([code, { kind, rpcCode, blame, meaning }]) => [
      code,
      kind,
      String(rpcCode),
      blame,
      meaning,
    ])
    const inSources = new Set<string>(Object.keys(ERRORS))
    expect(rows.filter(([code = '']) => inSources.has(code))).toEqual(wanted)
  })

  test('describes no code that does not exist', () => {
    const codes = rows.map(([code = '']) => code).filter(code => /^[A-Z_]+$/.test(code))
    expect(codes.filter(code => !(code in ERRORS))).toEqual([])
  })
})

describe('the limits', () => {
  test('are each named in a test', () => {
    const tests = testFiles()
      .filter(({ path }) => !path.startsWith('test/guards/'))
      .map(({ text }) => text)
      .join('\n')
    const untested = Object.keys(LIMITS).filter(name => !new RegExp(`\\bLIMITS\\.${name}\\b`).test(tests))
    expect(untested).toEqual([])
  })
})

describe('package-lock.json', () => {
  test('has no address of a registry', () => {
    expect(read('package-lock.json')).not.toMatch(/"resolved"\s*:/)
  })
})
