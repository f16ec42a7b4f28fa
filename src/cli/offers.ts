const WORDS = [
  ['tools', 'tool', 'tools'],
  ['resources', 'resource', 'resources'],
  ['resourceTemplates', 'template', 'templates'],
  ['prompts', 'prompt', 'prompts'],
] as const

/** `13 tools, 1 resource`; what there is none of is left out. */
export function offersInWords(counts: Readonly<Record<(typeof WORDS)[number][0], number>>): string {
  const offers = WORDS.flatMap(([kind, one, many]) => {
    const n = counts[kind]
    return n > 0 ? [`${n} ${n === 1 ? one : many}`] : []
  })
  return offers.join(', ') || 'nothing offered'
}
