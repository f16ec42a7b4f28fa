import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { holdfastSchema, serverSchema } from '../../src/config/schema.js'
import { ROOT } from '../kit/build.js'
import { verifies } from '../kit/verifies.js'
import { runProof } from './proof.js'
import { CITED, PROOFS } from './registry.js'

/** Every path of the schema that ends in a value: `listen.port`. */
function leavesOf(schema: unknown, path: string): string[] {
  const inner = unwrap(schema)
  if (!inner.shape) return [path]
  return Object.entries(inner.shape).flatMap(([key, member]) => leavesOf(member, `${path}.${key}`))
}

interface Wrapped {
  readonly shape?: Readonly<Record<string, unknown>>
  readonly unwrap?: () => unknown
}

function unwrap(schema: unknown): Wrapped {
  const inner = schema as Wrapped
  // An array has it too, and is a value.
  const isOptional = (inner as { def?: { type?: string } }).def?.type === 'optional'
  return isOptional && inner.unwrap ? unwrap(inner.unwrap()) : inner
}

describe('the registry of options', () => {
  const options = [...leavesOf(serverSchema, 'server'), ...leavesOf(holdfastSchema, 'gateway')]
  const proven = [...PROOFS.flatMap(({ keys }) => keys), ...Object.keys(CITED)]

  verifies(['N168'], 'has a test for every option of the schema that fails if the option is ignored', () => {
    expect(options.length).toBeGreaterThan(50)
    expect(options.filter(key => !proven.includes(key))).toEqual([])
  })

  test('has none for an option that does not exist, and none twice', () => {
    expect(proven.filter(key => !options.includes(key))).toEqual([])
    expect(proven.filter((key, index) => proven.indexOf(key) !== index)).toEqual([])
  })

  test('cites only tests that exist', () => {
    for (const [key, cited] of Object.entries(CITED)) {
      const [, file = '', title = ''] = /^(\S+): (.+)$/s.exec(cited) ?? []
      expect(readFileSync(join(ROOT, file), 'utf8'), key).toContain(`'${title}'`)
    }
  })
})

describe('an option that is ignored would be noticed:', () => {
  for (const proof of PROOFS) {
    for (const key of proof.keys) test(`${key} ${proof.does}`, () => runProof(proof, key))
  }
})
