import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../../test/kit/run-folder.js'
import type { UpstreamSpec } from '../model/index.js'
import { type ConfigReading, loadConfig } from './index.js'
import { MAX_REFERRED_BYTES, parseVariables } from './referred-files.js'

type Files = Readonly<Record<string, string>>

async function load(config: object, files: Files, env: Record<string, string> = {}) {
  const folder = freshFolder('env-files')
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const path = join(folder, 'holdfast.json')
  writeFileSync(path, JSON.stringify(config))
  return { folder, reading: await loadConfig(path, { env, markOf: async file => `mark of ${file}` }) }
}

const transportOf = ({ upstreams }: ConfigReading, at = 0) => (upstreams[at] as UpstreamSpec).transport
const errorsOf = ({ faults }: ConfigReading) => faults.map(({ key, message }) => `${key}: ${message}`)

describe('an env file', () => {
  test('of an entry gives its variables to the program and to the references of that entry', async () => {
    const config = {
      mcpServers: {
        a: { command: 'x', envFile: 'a.env', env: { B: 'own', D: '${A}' }, args: ['${A}'] },
        b: { url: 'http://h/', envFile: 'a.env', headers: { 'x-key': '${A}' } },
      },
    }
    const { reading } = await load(config, { 'a.env': 'export A="one"\nB=two # why\n' }, { A: 'outer' })
    expect(reading.faults).toEqual([])
    expect(transportOf(reading)).toMatchObject({ args: ['one'], env: { A: 'one', B: 'own', D: 'one' } })
    expect(transportOf(reading, 1)).toMatchObject({ headers: { 'x-key': 'one' } })
  })

  test('of the gateway gives values to every entry, and what is set where it runs comes first', async () => {
    const config = {
      mcpServers: { a: { command: 'x', args: ['${A}', '${B}'] } },
      holdfast: { envFile: ['one.env', 'two.env'] },
    }
    const files = { 'one.env': 'A=1\nB=1', 'two.env': 'B=2' }
    expect(transportOf((await load(config, files)).reading)).toMatchObject({ args: ['1', '2'], env: {} })
    expect(transportOf((await load(config, files, { A: '0' })).reading)).toMatchObject({ args: ['0', '2'] })
  })

  test('may have a path that stands in another one', async () => {
    const config = {
      mcpServers: { a: { command: 'x', envFile: '${WHERE}.env', args: ['${file:${A}}', '${A}'] } },
      holdfast: { envFile: 'gateway.env' },
    }
    const { reading } = await load(config, { 'gateway.env': 'WHERE=inner', 'inner.env': 'A=1' })
    expect(errorsOf(reading)).toEqual(['mcpServers.a.args[0]: holds a "${" inside another'])
    const sources = reading.sources?.map(({ path }) => path.split('/').at(-1))
    expect(sources).toEqual(['holdfast.json', 'gateway.env', 'inner.env'])
  })

  test('that is not there, or holds what is no variable, is told with its place', async () => {
    const config = {
      mcpServers: { a: { command: 'x', envFile: ['gone.env', 'bad.env'] }, b: { command: 'y' } },
    }
    const { reading, folder } = await load(config, { 'bad.env': 'A=1\n\nhunter2\nB=2' })
    expect(errorsOf(reading)).toEqual([
      `mcpServers.a.envFile[0]: there is no file ${join(folder, 'gone.env')}`,
      `mcpServers.a.envFile[1]: line 3 of ${join(folder, 'bad.env')} is not NAME=value`,
    ])
    expect(JSON.stringify(reading.faults)).not.toContain('hunter2')
    expect(reading.ok).toBe(true)
    const whole = await load({ mcpServers: {}, holdfast: { envFile: 'gone.env' } }, {})
    expect(whole.reading.ok).toBe(false)
    expect(errorsOf(whole.reading)[0]).toContain('holdfast.envFile: there is no file')
  })

  test.each([
    ['A=1\nbad', 2],
    ['=3\nA=1', 1],
    ['A B=2', 1],
    ['A=1\r\nB\r\nC=2', 2],
  ])('with the lines %j has none in line %d', (text, line) => {
    expect(parseVariables(text)).toEqual({ line })
  })

  test.each([
    ['', {}],
    ['\uFEFFA=1', { A: '1' }],
    ['# c\r\nA=1\r\n', { A: '1' }],
    ['A="x\ny"\nB=', { A: 'x\ny', B: '' }],
  ])('with the lines %j holds %j', (text, values) => {
    expect(parseVariables(text)).toEqual({ values })
  })
})

describe('a file in the place of a value', () => {
  const asking = (path: string) => ({
    mcpServers: {
      a: { url: 'http://h/', headers: { Authorization: `Bearer \${file:${path}}` } },
      b: { command: 'y' },
    },
  })

  test('gives what it holds, without the line break at its end', async () => {
    const { reading, folder } = await load(asking('token'), { token: 's3cret\r\n' })
    expect(reading.faults).toEqual([])
    expect(transportOf(reading)).toMatchObject({ headers: { Authorization: 'Bearer s3cret' } })
    expect(reading.sources).toEqual(
      ['holdfast.json', 'token'].map(name => ({
        path: join(folder, name),
        mark: `mark of ${join(folder, name)}`,
      })),
    )
  })

  test.each<[string, Files, RegExp]>([
    ['gone', {}, /there is no file .*gone$/],
    ['large', { large: 'x'.repeat(MAX_REFERRED_BYTES + 1) }, /large has 1048577 bytes$/],
    ['folder', {}, /folder is a folder$/],
    ['lines', { lines: 'a\nb' }, /holds characters that a header cannot have$/],
  ])('that is %s is a fault of that server', async (name, files, message) => {
    const { folder } = await load({}, {})
    mkdirSync(join(folder, 'folder'))
    const path = name === 'folder' ? join(folder, name) : name
    const { reading } = await load(asking(path), files)
    expect(reading.faults).toMatchObject([
      { server: 'a', key: 'mcpServers.a.headers.Authorization', message: expect.stringMatching(message) },
    ])
    expect(reading.upstreams[1]).toMatchObject({ name: 'b', transport: { kind: 'stdio' } })
  })

  test('is read once, however many entries ask for it', async () => {
    const servers = Object.fromEntries(
      Array.from({ length: 100 }, (_, at) => [`s${at}`, { command: 'x', args: ['${file:token}'] }]),
    )
    const { reading } = await load({ mcpServers: servers }, { token: 't' })
    expect(reading.sources).toHaveLength(2)
    expect(reading.upstreams).toHaveLength(100)
  })
})
