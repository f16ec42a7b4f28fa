import {
  mkdirSync,
  watch as realWatch,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { freshFolder } from '../../test/kit/run-folder.js'
import { verifies } from '../../test/kit/verifies.js'
import { type FileWatch, type FileWatchOptions, markOf, watchFiles } from './file-watch.js'

const open = new Set<FileWatch>()
afterEach(() => {
  for (const each of open) each.close()
  open.clear()
})

function world(options: FileWatchOptions = { pollMs: 50, settleMs: 40 }) {
  const folder = freshFolder('watch')
  const path = join(folder, 'holdfast.json')
  let told = 0
  return {
    folder,
    path,
    told: () => told,
    /** In one step, so that no look comes in the middle. */
    put: (text: string) => {
      writeFileSync(`${folder}.new`, text)
      renameSync(`${folder}.new`, path)
    },
    begin: async (file = path) => {
      const watching = watchFiles(
        [{ path: file, mark: await markOf(file) }],
        () => {
          told += 1
        },
        options,
      )
      open.add(watching)
      return watching
    },
    becomes: (n: number) => expect.poll(() => told).toBe(n),
  }
}

describe('a watched file', () => {
  test('is told when it is written, replaced, gone, and there again', async () => {
    const { path, begin, becomes, put } = world({ pollMs: 50, settleMs: 150 })
    writeFileSync(path, '1')
    await begin()
    writeFileSync(path, '22')
    await becomes(1)
    put('333')
    await becomes(2)
    unlinkSync(path)
    await becomes(3)
    writeFileSync(path, '4444')
    await becomes(4)
  })

  test('behind a link is told when the link is moved', async () => {
    const { path, folder, begin, becomes } = world()
    for (const name of ['one', 'two']) writeFileSync(join(folder, name), name)
    symlinkSync(join(folder, 'one'), path)
    await begin()
    symlinkSync(join(folder, 'two'), join(folder, 'link'))
    renameSync(join(folder, 'link'), path)
    await becomes(1)
  })

  test('in a folder that comes later, goes and comes again is told', async () => {
    const { folder, begin, becomes } = world()
    const later = join(folder, 'later')
    await begin(join(later, 'holdfast.json'))
    for (const n of [1, 3]) {
      mkdirSync(later)
      writeFileSync(join(later, 'holdfast.json'), String(n))
      await becomes(n)
      rmSync(later, { recursive: true })
      await becomes(n + 1)
    }
  })

  test('that is written many times in a moment is told once', async () => {
    const { path, begin, becomes, told } = world({ pollMs: 20, settleMs: 300 })
    writeFileSync(path, '0')
    await begin()
    for (let n = 0; n < 20; n += 1) writeFileSync(path, 'x'.repeat(n))
    await becomes(1)
    await new Promise(resolve => setTimeout(resolve, 400))
    expect(told()).toBe(1)
  })

  test('that did not change, or whose neighbours did, is told never, and after the end nothing is', async () => {
    const { path, folder, begin, told } = world()
    writeFileSync(path, '1')
    const watching = await begin()
    writeFileSync(join(folder, 'other'), '1')
    await new Promise(resolve => setTimeout(resolve, 200))
    watching.close()
    writeFileSync(path, '22')
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(told()).toBe(0)
  })

  const deaf = { on: () => deaf, close: () => undefined } as unknown as ReturnType<
    NonNullable<FileWatchOptions['watch']>
  >
  const failing = (): never => {
    throw Object.assign(new Error('no watches are left'), { code: 'ENOSPC' })
  }
  for (const [what, watch] of [
    ['cannot be watched', failing],
    ['tells nothing', () => deaf],
  ] as const) {
    verifies(['M164'], `in a folder that ${what} is looked at, and its change told once`, async () => {
      const { path, begin, becomes, told, put } = world({ pollMs: 50, settleMs: 40, watch })
      put('1')
      await begin()
      put('22')
      await becomes(1)
      await new Promise(resolve => setTimeout(resolve, 200))
      expect(told()).toBe(1)
      unlinkSync(path)
      await becomes(2)
    })
  }

  verifies(['M164'], 'whose watcher breaks down is looked at from then on', async () => {
    const { begin, becomes, told, put } = world({
      pollMs: 50,
      settleMs: 40,
      watch: (folder, options, heard) => {
        const watcher = realWatch(folder, options, heard)
        setTimeout(() => watcher.emit('error', new Error('broken')), 10)
        return watcher
      },
    })
    put('1')
    await begin()
    for (const n of [1, 2, 3]) {
      put('x'.repeat(n + 1))
      await becomes(n)
    }
    await new Promise(resolve => setTimeout(resolve, 200))
    expect(told()).toBe(3)
  })

  test('is told when it was changed between its reading and the start of the watch', async () => {
    const { path } = world()
    writeFileSync(path, '1')
    const mark = await markOf(path)
    writeFileSync(path, '22')
    let heard = 0
    open.add(watchFiles([{ path, mark }], () => (heard += 1), { pollMs: 60_000, settleMs: 10 }))
    await expect.poll(() => heard).toBe(1)
  })

  test('is not told when it was read for another reason before that', async () => {
    const { path, begin, told } = world({ pollMs: 50, settleMs: 200 })
    writeFileSync(path, '1')
    const watching = await begin()
    writeFileSync(path, '22')
    watching.follow([{ path, mark: await markOf(path) }])
    await new Promise(resolve => setTimeout(resolve, 400))
    expect(told()).toBe(0)
  })

  test('that is written without a pause is told all the same', async () => {
    const { path, begin, told } = world({ pollMs: 20, settleMs: 100 })
    writeFileSync(path, '')
    await begin()
    let writes = 0
    const writing = setInterval(() => {
      writes += 1
      writeFileSync(path, 'x'.repeat(writes))
    }, 20)
    await expect.poll(told).toBeGreaterThan(0)
    clearInterval(writing)
  })
})

test('several files that change at the same time are told once, and one that is not followed any more never', async () => {
  const { folder, path } = world()
  const other = join(folder, 'other.env')
  for (const file of [path, other]) writeFileSync(file, '1')
  let heard = 0
  const seen = async (file: string) => ({ path: file, mark: await markOf(file) })
  const watching = watchFiles([await seen(path), await seen(other)], () => (heard += 1), {
    pollMs: 50,
    settleMs: 100,
  })
  open.add(watching)
  for (const file of [path, other]) writeFileSync(file, '22')
  await expect.poll(() => heard).toBe(1)
  watching.follow([await seen(path)])
  writeFileSync(other, '333')
  await new Promise(resolve => setTimeout(resolve, 300))
  expect(heard).toBe(1)
})
