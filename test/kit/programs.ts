import { chmodSync, writeFileSync } from 'node:fs'

/** A program that runs that command line. */
export function writeProgram(path: string, line: readonly string[]): void {
  writeFileSync(path, `#!/bin/sh\nexec ${line.map(word => `'${word}'`).join(' ')}\n`)
  chmodSync(path, 0o755)
}
