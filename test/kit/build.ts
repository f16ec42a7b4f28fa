import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runFolder } from './run-folder.js'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
export const CLI = join(ROOT, 'dist/holdfast.js')
/** What the build makes last. */
export const CONFIG_SCHEMA = join(ROOT, 'dist/config.schema.json')

const BUILD_MS = 120_000

/**
 * Makes sure that dist is as new as src. The first test process of a run that needs it builds; the others wait.
 * @throws Error with the compiler's words when the build fails
 */
export async function ensureBuilt(): Promise<void> {
  const verdict = join(runFolder(), 'build.txt')
  if (claim(join(runFolder(), 'build.lock'))) {
    writeFileSync(`${verdict}.part`, buildIfStale())
    // Whole or not at all: the others read it as soon as it is there.
    renameSync(`${verdict}.part`, verdict)
  }
  const end = Date.now() + BUILD_MS
  while (!existsSync(verdict)) {
    if (Date.now() > end) throw new Error(`The build did not finish in ${BUILD_MS} ms.`)
    await delay(50)
  }
  const problem = readFileSync(verdict, 'utf8')
  if (problem !== '')
    throw new Error(`dist cannot be built, so nothing that needs the gateway can run:\n${problem}`)
}

/** True for exactly one caller in a run. */
function claim(lock: string): boolean {
  try {
    mkdirSync(lock)
    return true
  } catch {
    return false
  }
}

/** An empty text, or what the compiler said. */
function buildIfStale(): string {
  const built = existsSync(CONFIG_SCHEMA) ? statSync(CONFIG_SCHEMA).mtimeMs : 0
  if (built > newest(join(ROOT, 'src')) && built > statSync(join(ROOT, 'tsconfig.json')).mtimeMs) return ''
  const { status, stdout, stderr, error } = spawnSync('npm', ['run', '--silent', 'build'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  if (status === 0) return ''
  return `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}` || `npm run build ended with ${status}`
}

function newest(folder: string): number {
  const times = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map(entry => statSync(join(entry.parentPath, entry.name)).mtimeMs)
  return Math.max(0, ...times)
}
