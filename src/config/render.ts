import type { Fault } from './faults.js'

/** All faults for a person: where, what, and the fix. */
export function renderFaults(
  faults: readonly Fault[],
  options: { readonly path: string; readonly color: boolean },
): string {
  const paint = (code: number, text: string) => (options.color ? `\x1b[${code}m${text}\x1b[0m` : text)
  return faults
    .map(({ severity, server, key, line, column, message, fix }) => {
      const place = line === undefined ? options.path : `${options.path}:${line}:${column ?? 1}`
      const what = severity === 'error' ? paint(31, 'error') : paint(33, 'warning')
      const who = server === undefined ? '' : `server "${server}": `
      const where = key === '' ? '' : `${key}: `
      return `${place}: ${what}: ${who}${where}${message}\n    fix: ${fix}`
    })
    .join('\n')
}
