export type Environment = Readonly<Record<string, string | undefined>>

/** What references stand for. */
export interface Values {
  readonly env: Environment
  /** What a file holds, or what keeps it from being read. */
  readonly file: (path: string) => string | Problem
}

/** What stopped an expansion, without any value. */
export type Problem =
  | { readonly kind: 'unset'; readonly variable: string }
  /** A placeholder that only the client it was written for can fill in. */
  | { readonly kind: 'foreign'; readonly text: string }
  /** Not repeated in messages: what stands between the braces may be a piece of a secret. */
  | { readonly kind: 'malformed' }
  | { readonly kind: 'unreadable'; readonly message: string; readonly fix: string }
  | { readonly kind: 'nested' }
  | { readonly kind: 'unclosed' }

export interface Expansion {
  readonly text: string
  readonly problems: readonly Problem[]
}

/** `$${` is a literal `${`; `${VAR}`, `${VAR:-default}`, `${env:VAR}` as VS Code writes it, and `${file:PATH}`. */
const REFERENCE = /\$\$\{|\$\{([^}]*)(\})?/g
const VARIABLE = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/
const FILE = /^file:(.+)$/
const FOREIGN =
  /^(?:(?:input|command|config):[\w.-]*|workspaceFolder(?::[\w.-]*)?|workspaceFolderBasename|userHome|pathSeparator|\/)$/

export function expand(text: string, values: Values): Expansion {
  const problems: Problem[] = []
  const expanded = text.replace(REFERENCE, (whole: string, inner: string | undefined, close?: string) => {
    if (inner === undefined) return '${'
    const found = close === undefined ? ({ kind: 'unclosed' } as const) : resolve(inner, values)
    if (typeof found === 'string') return found
    problems.push(found)
    return whole
  })
  return { text: expanded, problems }
}

function resolve(inner: string, { env, file }: Values): string | Problem {
  if (inner.includes('${')) return { kind: 'nested' }
  if (FOREIGN.test(inner)) return { kind: 'foreign', text: `\${${inner}}` }
  const path = FILE.exec(inner)?.[1]
  if (path !== undefined) return file(path)
  const match = VARIABLE.exec(inner)
  if (!match) return { kind: 'malformed' }
  const [, variable = '', fallback] = match
  // `process.env.constructor` is a function.
  const value = Object.hasOwn(env, variable) ? env[variable] : undefined
  // As in a shell: an empty variable takes the default too.
  if (value !== undefined && (value !== '' || fallback === undefined)) return value
  return fallback ?? { kind: 'unset', variable }
}

/** The message of a variable that is not set: a fault of the environment, not of the text. */
export const UNSET = /^the variable \w+ is not set$/

/** A problem as a message and a fix. */
export function describeProblem(problem: Problem): { readonly message: string; readonly fix: string } {
  const literal = 'write $${ for a literal "${"'
  switch (problem.kind) {
    case 'unset': {
      const { variable } = problem
      const fix = `set ${variable}, or write \${${variable}:-default}`
      return { message: `the variable ${variable} is not set`, fix }
    }
    case 'foreign':
      return {
        message: `${problem.text} cannot be expanded here; only the editor it was written for knows it`,
        fix: 'write the value itself, or use ${VAR} or ${VAR:-default}',
      }
    case 'malformed':
      return { message: 'holds a "${...}" that names no variable', fix: `use \${VAR}, or ${literal}` }
    case 'unreadable':
      return { message: problem.message, fix: problem.fix }
    case 'nested':
      return { message: 'holds a "${" inside another', fix: `use a plain default, or ${literal}` }
    case 'unclosed':
      return { message: 'holds a "${" without its "}"', fix: `close it, or ${literal}` }
  }
}
