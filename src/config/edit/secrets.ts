import type { Path } from '../faults.js'
import type { Dialect } from '../parse.js'
import { isObject } from '../types.js'
import { jsonSpans } from './edit-json.js'
import { headOf } from './edit-toml.js'
import { yamlSpans } from './edit-yaml.js'

export const MASK = '***'

interface Secret {
  readonly path: Path
  readonly value: string
  readonly masked: string
}

const SENSITIVE = /token|secret|passw|credential|auth|api-?_?key|private-?_?key/i
/** What is shorter may stand anywhere by chance. */
const SHORTEST = 6

/** A config text that can be shown. */
export interface Masked {
  /** With other texts in the places of secrets. */
  readonly text: string
  /** A second look at a line of it, for secrets that stand elsewhere too: in a comment, behind an alias. */
  clean(line: string): string
}

/**
 * Masks values of env and headers, what follows a telling option, and what addresses carry. References to variables
 * stay: they are names.
 */
export function maskText(text: string, dialect: Dialect, value: unknown): Masked {
  const secrets = secretsOf(value)
  const long = new Map(
    secrets.filter(secret => secret.value.length >= SHORTEST).map(({ value, masked }) => [value, masked]),
  )
  return {
    text: dialect === 'toml' ? maskTomlLines(text) : maskSpans(text, dialect, secrets),
    clean: line => {
      for (const [word, masked] of long) line = line.replaceAll(word, masked)
      return line
    },
  }
}

function maskSpans(text: string, dialect: Dialect, secrets: readonly Secret[]): string {
  const spans = dialect === 'json' ? jsonSpans(text) : yamlSpans(text)
  const found = secrets.flatMap(({ path, masked }) => {
    const span = spans(path)
    return span ? [{ span, masked }] : []
  })
  found.sort((a, b) => a.span[0] - b.span[0])
  const parts: string[] = []
  let at = 0
  for (const { span, masked } of found) {
    parts.push(text.slice(at, span[0]), JSON.stringify(masked))
    at = span[1]
  }
  return parts.join('') + text.slice(at)
}

/** There are no positions in TOML: whole lines of the tables that hold secrets. */
function maskTomlLines(text: string): string {
  let isSecret = false
  return text
    .split('\n')
    .map(line => {
      const head = headOf(line)
      if (head) isSecret = head.length > 2 && /^(env|headers)$/.test(head[2] ?? '')
      if (head || line.trim() === '' || line.trimStart().startsWith('#')) return line
      const key = /^\s*(?:(?:env|headers)\b|[^=]*\.(?:env|headers)\b)[^=]*=/.exec(line)
      if (!isSecret && !key) return line
      return `${/^[^=]*=/.exec(line)?.[0] ?? ''} "${MASK}"`.trimStart()
    })
    .join('\n')
}

function secretsOf(value: unknown): Secret[] {
  const root = isObject(value) ? value : {}
  return ['mcpServers', 'servers'].flatMap(key => {
    const servers = root[key]
    return isObject(servers)
      ? Object.entries(servers).flatMap(([name, entry]) => secretsOfEntry([key, name], entry))
      : []
  })
}

function secretsOfEntry(base: Path, entry: unknown): Secret[] {
  if (!isObject(entry)) return []
  const found: Secret[] = []
  const add = (path: Path, value: unknown, mask: (text: string) => string) => {
    const text = typeof value === 'string' ? value : String(value ?? '')
    const masked = mask(text)
    if (masked !== text) found.push({ path: [...base, ...path], value: text, masked })
  }
  for (const key of ['env', 'headers']) {
    const words = entry[key]
    if (isObject(words)) for (const [name, word] of Object.entries(words)) add([key, name], word, maskWord)
  }
  for (const key of ['url', 'serverUrl', 'httpUrl']) add([key], entry[key], maskUrl)
  const args = Array.isArray(entry['args']) ? entry['args'] : []
  for (const [index, arg] of args.entries()) add(['args', index], arg, text => maskArg(text, args[index - 1]))
  return found
}

/** `Bearer ${TOKEN}` holds no secret. */
function maskWord(text: string): string {
  const rest = text.replace(/\$\{[A-Za-z_][\w:]*\}/g, '').trim()
  return rest === '' || /^(bearer|basic|token)$/i.test(rest) ? text : MASK
}

function maskUrl(text: string): string {
  return text
    .replace(/^(\w+:\/\/)[^/@\s]+@/, `$1${MASK}@`)
    .replace(/([?&][^=&#]+=)([^&#]+)/g, (_all, key: string, word: string) => key + maskWord(word))
}

function maskArg(text: string, before: unknown): string {
  const option = /^(--?[\w-]+|[\w-]+)=/.exec(text)
  if (option && SENSITIVE.test(option[1] ?? '')) return option[0] + maskWord(text.slice(option[0].length))
  const follows = typeof before === 'string' && before.startsWith('-') && !before.includes('=')
  return follows && SENSITIVE.test(before) ? maskWord(text) : maskUrl(text)
}
