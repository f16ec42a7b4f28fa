import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { freshFolder } from '../../test/kit/run-folder.js'
import { findControlFile, removeControlFile, writeControlFile } from './control-file.js'
import { stateFolder } from './state-folder.js'

const content = (url: string, token = 't') => ({ url, pid: 1, token })

describe('the state folder', () => {
  test.each([
    [{ HOLDFAST_STATE_DIR: '/a', XDG_STATE_HOME: '/b', HOME: '/c' }, '/a'],
    [{ HOLDFAST_STATE_DIR: 'here' }, resolve('here')],
    [{ XDG_STATE_HOME: '/b', HOME: '/c' }, '/b/holdfast'],
    [{ XDG_STATE_HOME: 'relative', HOME: '/c' }, '/c/.local/state/holdfast'],
    [{ HOLDFAST_STATE_DIR: '', XDG_STATE_HOME: '', HOME: '/c' }, '/c/.local/state/holdfast'],
    [{}, join(homedir(), '.local/state/holdfast')],
  ])('for %j is %s', (env, folder) => {
    expect(stateFolder(env)).toBe(folder)
  })
})

describe('the control file', () => {
  test('is for its owner alone, folder and all, and has a name for its address', () => {
    const folder = join(freshFolder('state'), 'new')
    const path = writeControlFile(folder, content('http://127.0.0.1:7400'))
    expect(path).toBe(join(folder, 'control-127.0.0.1-7400.json'))
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(content('http://127.0.0.1:7400'))
    expect(readdirSync(folder)).toHaveLength(1)
  })

  test.each(['/proc/none/at/all', '/dev/null/x'])(
    'that cannot be written to %s is an error at once',
    folder => {
      expect(() => writeControlFile(folder, content('http://127.0.0.1:7400'))).toThrow(
        /ENOENT|ENOTDIR|EACCES/,
      )
    },
  )

  test('of the same address is replaced as a whole, whatever a killed gateway left', () => {
    const folder = freshFolder('state')
    const path = writeControlFile(folder, content('http://127.0.0.1:7400', 'old'))
    writeFileSync(`${path}.1.part`, 'half', { mode: 0o644 })
    writeControlFile(folder, content('http://127.0.0.1:7400', 'new'))
    expect(findControlFile(folder, 'http://127.0.0.1:7400')?.token).toBe('new')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toHaveLength(1)
  })

  test('is found by any name of this machine, and not for another machine or port', () => {
    const folder = freshFolder('state')
    writeControlFile(folder, content('http://127.0.0.1:7400'))
    const find = (url: string) => findControlFile(folder, url)?.token
    expect(find('http://127.0.0.1:7400')).toBe('t')
    expect(find('http://localhost:7400')).toBe('t')
    expect(find('http://[::1]:7400')).toBe('t')
    expect(find('http://localhost:7401')).toBeUndefined()
    expect(find('http://localhost:740')).toBeUndefined()
    expect(find('http://gateway.example:7400')).toBeUndefined()
    expect(findControlFile(join(folder, 'nowhere'), 'http://localhost:7400')).toBeNull()
  })

  test('of an IPv6 address has a name that every file system takes', () => {
    const folder = freshFolder('state')
    const path = writeControlFile(folder, content('http://[::1]:7400'))
    expect(path).toMatch(/control-[A-Za-z0-9._-]+-7400\.json$/)
    expect(findControlFile(folder, 'http://[::1]:7400')?.token).toBe('t')
  })

  test('is not trusted once others can read it, and not for what it is not', () => {
    const folder = freshFolder('state')
    const path = writeControlFile(folder, content('http://127.0.0.1:7400'))
    chmodSync(path, 0o644)
    expect(() => findControlFile(folder, 'http://127.0.0.1:7400')).toThrow('not private')
    chmodSync(path, 0o600)
    for (const text of ['', 'null', '{}', '[1]', '{"url":"x","pid":1,"token":"t"}']) {
      writeFileSync(path, text)
      expect(findControlFile(folder, 'http://127.0.0.1:7400'), text).toBeNull()
    }
  })

  test('is removed by the gateway that wrote it, not by one before it', () => {
    const folder = freshFolder('state')
    const path = writeControlFile(folder, content('http://127.0.0.1:7400', 'mine'))
    removeControlFile(path, 'of the one before')
    expect(existsSync(path)).toBe(true)
    removeControlFile(path, 'mine')
    expect(existsSync(path)).toBe(false)
    removeControlFile(path, 'mine')
  })
})
