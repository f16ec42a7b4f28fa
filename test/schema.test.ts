import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parse } from 'jsonc-parser'
import { beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { jsonSchema, readConfig } from '../src/config/index.js'
import { CONFIG_SCHEMA, ensureBuilt, ROOT } from './kit/build.js'
import { verifies } from './kit/verifies.js'

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema | boolean
  readonly title?: string
  readonly description?: string
}

const pages = ['README.md', ...readdirSync(join(ROOT, 'docs')).map(name => `docs/${name}`)]
const examples = pages.flatMap(page =>
  [...readFileSync(join(ROOT, page), 'utf8').matchAll(/```jsonc?\n([\s\S]*?)```/g)]
    .map(([, text = '']) => [page, text] as const)
    .filter(([, text]) => /"(mcpServers|servers)"/.test(text)),
)

const one = (entry: unknown) => ({ mcpServers: { a: entry } })
const ours = (options: unknown) => one({ command: 'x', holdfast: options })
const BAD: readonly unknown[] = [
  [],
  { mcpServers: [] },
  { mcpServers: { a__b: { command: 'x' } } },
  one('npx'),
  one({ command: 7 }),
  one({ command: '' }),
  one({ command: 'x', args: 'y' }),
  one({ command: 'x', args: [1] }),
  one({ command: 'x', env: { K: 1 } }),
  one({ url: 'http://h', headers: [] }),
  one({ url: 'http://h', type: 'grpc' }),
  ours({ requestTimeot: '5s' }),
  ours({ requestTimeout: '5 minutes' }),
  ours({ era: 'old' }),
  ours({ maxInFlight: 0 }),
  ours({ tools: { alow: [] } }),
  ours({ restart: { max: 1.5 } }),
  { mcpServers: {}, holdfast: { lisen: {} } },
  { mcpServers: {}, holdfast: { listen: { port: 70_000 } } },
  { mcpServers: {}, holdfast: { auth: { mode: 'jwt' } } },
]

describe('the JSON Schema', () => {
  beforeAll(ensureBuilt, 130_000)
  const validator = z.fromJSONSchema(jsonSchema() as Parameters<typeof z.fromJSONSchema>[0])
  const accepts = (value: unknown) => validator.safeParse(value).success

  verifies(['CFG-SCHEMA'], 'accepts every config of the documentation', () => {
    expect(examples.length).toBeGreaterThanOrEqual(3)
    for (const [page, text] of examples) {
      expect(accepts(parse(text, [], { allowTrailingComma: true })), `${page}: ${text}`).toBe(true)
    }
  })

  verifies(['CFG-SCHEMA'], 'refuses what the gateway refuses', () => {
    expect(accepts(one({ command: 'x' }))).toBe(true)
    for (const bad of BAD) {
      expect(accepts(bad), JSON.stringify(bad)).toBe(false)
      const { faults } = readConfig(JSON.stringify(bad), { dialect: 'json', env: {}, baseDir: '/' })
      expect(faults, JSON.stringify(bad)).not.toEqual([])
    }
    // The validator at hand passes over these.
    const either = (...keys: string[]) => keys.map(key => ({ required: [key] }))
    const schema = jsonSchema() as { properties: { mcpServers: { additionalProperties: unknown } } }
    expect(schema).toMatchObject({ anyOf: either('mcpServers', 'servers') })
    expect(schema.properties.mcpServers.additionalProperties).toMatchObject({
      anyOf: either('command', 'url', 'serverUrl', 'httpUrl'),
    })
  })

  verifies(['CFG-SCHEMA'], 'has a title and a description for every option', () => {
    const bare: string[] = []
    const visit = (schema: Schema, path: string) => {
      for (const [key, inner] of Object.entries(schema.properties ?? {})) {
        if (!inner.title || !inner.description) bare.push(`${path}${key}`)
        visit(inner, `${path}${key}.`)
      }
      if (typeof schema.additionalProperties === 'object') visit(schema.additionalProperties, `${path}*.`)
    }
    visit(jsonSchema() as Schema, '')
    expect(bare).toEqual([])
  })

  verifies(['CFG-SCHEMA'], 'is in the package, and can be found by its name', async () => {
    expect(JSON.parse(readFileSync(CONFIG_SCHEMA, 'utf8'))).toEqual(jsonSchema())
    const pack = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
      cwd: ROOT,
    })
    const files = (JSON.parse(pack.stdout) as { files: { path: string }[] }[])[0]?.files.map(
      ({ path }) => path,
    )
    expect(files).toContain('dist/config.schema.json')
    const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(exports['./config.schema.json']).toBe('./dist/config.schema.json')
  })

  test('may be named at the top of a config, without a warning', () => {
    const text = '{ "$schema": "./node_modules/holdfast/dist/config.schema.json", "mcpServers": {} }'
    expect(readConfig(text, { dialect: 'json', env: {}, baseDir: '/' }).faults).toEqual([])
  })
})
