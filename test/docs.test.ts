import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../src/config/index.js'
import { ensureBuilt, ROOT } from './kit/build.js'
import { gatewayEnvironment, runCommand } from './kit/gateway.js'

const pages = ['README.md', ...readdirSync(join(ROOT, 'docs')).map(name => `docs/${name}`)]
const blocks = (page: string, language: string) =>
  [...readFileSync(join(ROOT, page), 'utf8').matchAll(/```(\w+)\n([\s\S]*?)```/g)]
    .filter(match => match[1] === language)
    .map(match => match[2] ?? '')

describe('the documentation', () => {
  test('shows only configs that work', () => {
    const configs = pages.flatMap(page =>
      blocks(page, 'jsonc')
        .filter(text => text.includes('mcpServers'))
        .map(text => [page, text] as const),
    )
    expect(configs.length).toBeGreaterThanOrEqual(3)
    for (const [page, text] of configs) {
      expect(
        readConfig(text, {
          dialect: 'json',
          env: {},
          baseDir: ROOT,
          files: { of: () => ({ text: 'NAME=value' }) },
        }).faults,
        page,
      ).toEqual([])
    }
  })

  test('shows only commands and options that exist', async () => {
    const lines = pages.flatMap(page => blocks(page, 'sh').flatMap(text => text.split('\n')))
    const commands = lines.filter(line => line.startsWith('holdfast '))
    expect(commands.length).toBeGreaterThanOrEqual(9)
    const names = [...new Set(commands.map(line => line.split(' ')[1] ?? ''))]
    const texts = names.map(async name => [name, (await runCommand([name, '--help'])).stdout] as const)
    const help = new Map(await Promise.all(texts))
    for (const line of commands) {
      const [, name = '', ...rest] = line.split(' ')
      expect(help.get(name), line).toContain(`Usage: holdfast ${name}`)
      for (const option of rest.filter(word => word.startsWith('--')))
        expect(help.get(name), line).toContain(option)
    }
  }, 60_000)

  test('links only to pages that exist', () => {
    for (const page of [...pages, 'ARCHITECTURE.md']) {
      const text = readFileSync(join(ROOT, page), 'utf8')
      for (const [, target = ''] of text.matchAll(/\]\(([^)#:]+)\)/g)) {
        expect(() => readFileSync(join(ROOT, page, '..', target)), `${page}: ${target}`).not.toThrow()
      }
    }
  })

  test('has a library example that runs', async () => {
    await ensureBuilt()
    const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'examples/library.mjs')], {
      env: gatewayEnvironment(),
    })
    // A slow machine may meet its second try.
    expect(stdout).toMatch(/missing: \[ 'broken \(.*exited with code 1\)' \]/)
    expect(stdout).toContain('Hello from a file behind Holdfast.')
    expect(stdout).toMatch(/unavailable - .*broken is unavailable/)
  })

  test('has an example of operating servers that runs', async () => {
    await ensureBuilt()
    const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'examples/operate.mjs')], {
      env: gatewayEnvironment(),
    })
    expect(stdout).toMatch(/^files works with \d+ tools$/m)
    expect(stdout).toMatch(/^broken fails at initialize: exited with code 1: no database$/m)
    expect(stdout).toMatch(/^files went from unknown to healthy$/m)
    expect(stdout).toMatch(/^broken went from unknown to unhealthy$/m)
    expect(stdout).toContain('restarted: true')
  })
})
