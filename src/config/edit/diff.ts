const AROUND = 2

/** The lines that differ, with those around them; a config changes at one place. */
export function diffLines(before: string, after: string): readonly string[] {
  const old = linesOf(before)
  const now = linesOf(after)
  let head = 0
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1
  let tail = 0
  const most = Math.min(old.length, now.length) - head
  while (tail < most && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1
  if (head === old.length && head === now.length) return []
  const mark = (sign: string, lines: readonly string[]) => lines.map(line => `${sign}${line}`)
  const end = old.length - tail
  return [
    `@@ line ${Math.max(1, head - AROUND + 1)} @@`,
    ...mark(' ', old.slice(Math.max(0, head - AROUND), head)),
    ...mark('-', old.slice(head, end)),
    ...mark('+', now.slice(head, now.length - tail)),
    ...mark(' ', old.slice(end, end + AROUND)),
  ]
}

function linesOf(text: string): string[] {
  const lines = text.replaceAll('\r\n', '\n').split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}
