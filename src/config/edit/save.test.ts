import {
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { NotSaved, saveText } from './save.js'

const OLD = Buffer.from('old')
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-save-'))
})
afterEach(() => rm(folder, { recursive: true }))

const read = (name: string) => readFile(join(folder, name), 'utf8')
const files = async () => (await readdir(folder)).sort()

describe('a config that is written', () => {
  test('keeps its mode, and what it was before lies beside it, one generation', async () => {
    const path = join(folder, 'f.json')
    await writeFile(path, OLD, { mode: 0o640 })
    expect(await saveText(path, OLD, 'new')).toEqual({ target: path, backup: `${path}.bak` })
    await saveText(path, Buffer.from('new'), 'newer')
    expect([await read('f.json'), await read('f.json.bak')]).toEqual(['newer', 'new'])
    for (const file of [path, `${path}.bak`]) expect((await stat(file)).mode & 0o777).toBe(0o640)
    expect(await files()).toEqual(['f.json', 'f.json.bak'])
  })

  test.skipIf(process.getuid?.() !== 0)('keeps its owner', async () => {
    const path = join(folder, 'f.json')
    await writeFile(path, OLD)
    const { chown } = await import('node:fs/promises')
    await chown(path, 12_345, 12_346)
    await saveText(path, OLD, 'new')
    for (const file of [path, `${path}.bak`])
      expect(await stat(file)).toMatchObject({ uid: 12_345, gid: 12_346 })
  })

  test('stays a link, and the file that it leads to is changed', async () => {
    await mkdir(join(folder, 'real'))
    const target = join(folder, 'real', 'g.json')
    await writeFile(target, OLD)
    await symlink('real/g.json', join(folder, 'f.json'))
    expect(await saveText(join(folder, 'f.json'), OLD, 'new')).toEqual({ target, backup: `${target}.bak` })
    expect(await readlink(join(folder, 'f.json'))).toBe('real/g.json')
    expect(await read('real/g.json')).toBe('new')
    expect(await files()).toEqual(['f.json', 'real'])
  })

  test('that changed meanwhile is left alone', async () => {
    const path = join(folder, 'f.json')
    await writeFile(path, 'by somebody else')
    await expect(saveText(path, OLD, 'new')).rejects.toThrow(/changed meanwhile/)
    expect(await read('f.json')).toBe('by somebody else')
    expect(await files()).toEqual(['f.json'])
  })

  test('for the first time never replaces another, and only its owner can read it', async () => {
    const path = join(folder, 'f.json')
    expect(await saveText(path, null, 'new')).toEqual({ target: path, backup: null })
    expect((await lstat(path)).mode & 0o777).toBe(0o600)
    await expect(saveText(path, null, 'newer')).rejects.toThrow(/appeared meanwhile/)
    expect(await read('f.json')).toBe('new')
    expect(await files()).toEqual(['f.json'])
  })

  test('where that cannot be says why', async () => {
    await expect(saveText(join(folder, 'none', 'f.json'), null, 'x')).rejects.toThrow(NotSaved)
    await expect(saveText(join(folder, 'none', 'f.json'), null, 'x')).rejects.toThrow(
      /folder .* does not exist/,
    )
    await expect(saveText(join(folder, 'f.json'), OLD, 'x')).rejects.toThrow(/was removed meanwhile/)
    // A folder that nobody can write to, whoever they are.
    await expect(saveText('/proc/self/holdfast.json', null, 'x')).rejects.toThrow(NotSaved)
    expect(await files()).toEqual([])
  })
})
