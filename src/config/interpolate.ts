export type Environment = Readonly<Record<string, string | undefined>>

/** What stopped an expansion, without any value. */
export type Problem =
  | { readonly kind: 'unset'; readonly variable: string }
  | { readonly kind: 'unsupported'; readonly text: string }

export interface Expansion {
  readonly text: string
  readonly problems: readonly Problem[]
}

/** `$${` is a literal `${`; `${VAR}`, `${VAR:-default}`, and `${env:VAR}` as VS Code writes it. */
const REFERENCE = /\$\$\{|\$\{([^}]*)\}/g
const VARIABLE = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/

export function expand(text: string, env: Environment): Expansion {
  const problems: Problem[] = []
  const expanded = text.replace(REFERENCE, (whole: string, inner: string | undefined) => {
    if (inner === undefined) return '${'
    const match = VARIABLE.exec(inner)
    if (!match) {
      problems.push({ kind: 'unsupported', text: whole })
      return ''
    }
    const [, variable = '', fallback] = match
    // As in a shell: an empty variable takes the default too.
    const value = env[variable]
    if (value !== undefined && (value !== '' || fallback === undefined)) return value
    if (fallback !== undefined) return fallback
    problems.push({ kind: 'unset', variable })
    return ''
  })
  return { text: expanded, problems }
}
