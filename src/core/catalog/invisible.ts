/**
 * Characters that a model reads and a person does not see: zero-width ones, those that turn the direction of text, tag
 * characters, variation selectors, fillers, controls. Nothing here changes what passes through; it is found and shown.
 */
const UNSEEN =
  /[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u{FFF9}-\u{FFFB}\0-\x07\x0E-\x1F\x7F-\x9F]/gu
/** What emoji and some scripts are written with: a selector or joiner that does its ordinary work. */
const ORDINARY =
  /(?<=\p{Emoji})\u{FE0F}|(?<=\p{Extended_Pictographic}|\p{Emoji_Modifier}|\u{FE0F})\u{200D}(?=\p{Extended_Pictographic})|(?<=[\u{600}-\u{DFF}])(?:\u{200C}|\u{200D})(?=[\u{600}-\u{DFF}])/gu
/** Without one of these in its JSON, a text holds none of them. */
const SUSPECT = /[^\x20-\x7E\t\r\n]|\\u/

/** How often each stands in a text, as `U+200B`, in the order of their first appearance. */
export function invisiblesIn(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>()
  for (const [character] of text.replace(ORDINARY, '').matchAll(UNSEEN)) {
    const code = codeOf(character)
    found.set(code, (found.get(code) ?? 0) + 1)
  }
  return found
}

/** The text with each of them written out: `<U+200B>`. */
export function revealInvisibles(text: string): string {
  return text.replace(UNSEEN, character => `<${codeOf(character)}>`)
}

/** The text as a person sees it. */
export function withoutInvisibles(text: string): string {
  return text.replace(UNSEEN, '')
}

/** One member of a definition that holds invisible characters, its nested texts included. */
export interface Flag {
  /** `description`, `inputSchema`; the empty text for the name of a member itself. */
  readonly member: string
  /** `U+200B`, or `U+200B ×3` where there are more. */
  readonly characters: readonly string[]
}

/** @param text the JSON object of a tool, resource, template or prompt */
export function flagsIn(text: string): readonly Flag[] {
  if (!SUSPECT.test(text)) return []
  const definition = JSON.parse(text) as Record<string, unknown>
  return Object.entries(definition).flatMap(([member, value]) => {
    const characters = [...invisiblesIn(`${member}\n${textsIn(value).join('\n')}`)]
    return characters.length === 0 ? [] : [{ member, characters: characters.map(timesOf) }]
  })
}

/** Every string in a value, keys included. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([key, inner]) => [key, ...textsIn(inner)])
}

function timesOf([code, times]: readonly [string, number]): string {
  return times === 1 ? code : `${code} ×${times}`
}

function codeOf(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}
