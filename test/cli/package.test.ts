import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, expect, test } from 'vitest'
import { CLI, ensureBuilt, ROOT } from '../kit/build.js'

interface Manifest {
  readonly version: string
  readonly bin: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest

beforeAll(ensureBuilt)

test('the command is one file of the package, and says its version', async () => {
  expect(join(ROOT, manifest.bin['holdfast'] ?? '')).toBe(CLI)
  expect(readFileSync(CLI, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  const { stdout } = await promisify(execFile)(process.execPath, [CLI, '--version'])
  expect(stdout.trim()).toBe(manifest.version)
})

test('the command imports nothing but Node and the dependencies of the package', () => {
  const imports = [...readFileSync(CLI, 'utf8').matchAll(/^(?:import|export) .*?from "([^"]+)"/gm)]
  const names = imports.map(([, name = '']) => name)
  expect(names).toContain('undici')
  const known = new Set([
    ...builtinModules.map(name => `node:${name}`),
    ...Object.keys(manifest.dependencies),
  ])
  expect(names.filter(name => !known.has(name))).toEqual([])
})
