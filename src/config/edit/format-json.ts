const WIDTH = 80

interface Layout {
  readonly unit: string
  /** The indentation of the line on which the value starts. */
  readonly base: string
  /** Everything on one line. */
  readonly inline: boolean
}

/** A value as people write it: short lists on one line, objects on several. */
export function formatJson(value: unknown, layout: Layout): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const isList = Array.isArray(value)
  const [open, close] = isList ? ['[', ']'] : ['{', '}']
  const { unit, base, inline } = layout
  const parts = (inner: Layout) =>
    isList
      ? value.map(item => formatJson(item, inner))
      : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${formatJson(item, inner)}`)
  const flat = parts({ ...layout, inline: true })
  const line = isList ? `[${flat.join(', ')}]` : flat.length === 0 ? '{}' : `{ ${flat.join(', ')} }`
  const fits = line.length <= WIDTH && (isList || Object.values(value).every(isScalar))
  if (inline || (fits && (isList || flat.length < 2))) return line
  const inner = base + unit
  return `${open}\n${inner}${parts({ unit, base: inner, inline: false }).join(`,\n${inner}`)}\n${base}${close}`
}

function isScalar(value: unknown): boolean {
  return typeof value !== 'object' || value === null
}
