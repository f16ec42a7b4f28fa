import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { ROOT } from './build.js'

export interface SourceFile {
  /** From the root of the repository, with slashes. */
  readonly path: string
  readonly text: string
}

/** Every TypeScript file below a folder of the repository. */
export function sourceFiles(folder: string): readonly SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'))
    .map(entry => join(entry.parentPath, entry.name))
    .map(file => ({ path: relative(ROOT, file).split(sep).join('/'), text: readFileSync(file, 'utf8') }))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** The shipped sources. */
export function productFiles(): readonly SourceFile[] {
  return sourceFiles('src').filter(({ path }) => !path.endsWith('.test.ts'))
}

export function testFiles(): readonly SourceFile[] {
  return [...sourceFiles('src'), ...sourceFiles('test')].filter(({ path }) => path.endsWith('.test.ts'))
}

/** The text with comments, and the inside of strings if wanted, blanked out; lines and columns stay. */
export function blank(text: string, options: { readonly strings: boolean }): string {
  const pattern =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|(?<=[=(,:;!&|?{}[\n]\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[dgimsuvy]*/g
  return text.replace(pattern, found => {
    const comment = found.startsWith('/*') || found.startsWith('//')
    return comment || options.strings ? found.replace(/[^\n]/g, ' ') : found
  })
}
