import type { Fault } from './faults.js'

/** All faults for a person: where, what, and the fix. What concerns one server stands together. */
export function renderFaults(
  faults: readonly Fault[],
  options: { readonly path: string; readonly color: boolean },
): string {
  const paint = (code: number, text: string) => (options.color ? `\x1b[${code}m${text}\x1b[0m` : text)
  return grouped(faults)
    .map(({ severity, server, key, line, column, message, fix }) => {
      const place = placeOf({ line, column }, options.path)
      const what = severity === 'error' ? paint(31, 'error') : paint(33, 'warning')
      // Quoted as JSON: a name may hold what a terminal would obey.
      const who = server === undefined ? '' : `server ${JSON.stringify(server)}: `
      const where = key === '' ? '' : `${key}: `
      return `${place}: ${what}: ${who}${where}${message}\n    fix: ${fix}`
    })
    .join('\n')
}

/** `FILE:LINE:COLUMN`, or the file alone. */
export function placeOf({ line, column }: Pick<Fault, 'line' | 'column'>, path: string): string {
  return line === undefined ? path : `${path}:${line}:${column ?? 1}`
}

/** The file as a whole first, then server by server; in each, errors before warnings. */
function grouped(faults: readonly Fault[]): Fault[] {
  const groups = new Map<string | undefined, Fault[]>([[undefined, []]])
  for (const fault of faults) {
    const group = groups.get(fault.server)
    if (group) group.push(fault)
    else groups.set(fault.server, [fault])
  }
  const rank = (fault: Fault) => (fault.severity === 'error' ? 0 : 1)
  return [...groups.values()].flatMap(group => group.sort((a, b) => rank(a) - rank(b)))
}
