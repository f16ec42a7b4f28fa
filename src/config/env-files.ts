import { resolve } from 'node:path'
import { describeProblem, expand, type Problem, type Values } from './interpolate.js'
import type { ReadingContext } from './read.js'
import { parseVariables, type ReferredFiles } from './referred-files.js'
import type { Report } from './transports.js'

/** Where a text is read by itself. */
const NO_FILES: Pick<ReferredFiles, 'of'> = {
  of: path => ({ message: `${path} cannot be read here`, fix: 'put the value itself there' }),
}

/** Stands for what is fetched first: the reading that holds it is thrown away. */
const TO_COME = 'to-come'

/** What the references of an entry stand for. */
export function valuesOf({ env, baseDir, files = NO_FILES }: ReadingContext): Values {
  return {
    env,
    file: path => {
      const file = files.of(resolve(baseDir, path))
      if (!file) return TO_COME
      if (file.text === undefined) return unreadable(file)
      // Editors and shells end a file with a line break that is no part of the value.
      return file.text.replace(/\r?\n$/, '')
    },
  }
}

function unreadable({ message, fix }: { readonly message: string; readonly fix: string }): Problem {
  return { kind: 'unreadable', message, fix }
}

/**
 * The variables of an `envFile`, of several files the last one that has them.
 * @returns null where there is none
 */
export function variablesFrom(
  written: string | readonly string[] | undefined,
  context: ReadingContext,
  report: Report,
): Readonly<Record<string, string>> | null {
  if (written === undefined) return null
  const paths = typeof written === 'string' ? [written] : written
  const all: Record<string, string> = {}
  for (const [index, path] of paths.entries()) {
    const key = typeof written === 'string' ? ['envFile'] : ['envFile', index]
    Object.assign(
      all,
      oneFile(path, context, (message, fix) => report(key, message, fix)),
    )
  }
  return all
}

function oneFile(
  written: string,
  context: ReadingContext,
  report: (message: string, fix: string) => void,
): Readonly<Record<string, string>> {
  const { text, problems } = expand(written, valuesOf(context))
  for (const problem of problems) {
    const { message, fix } = describeProblem(problem)
    report(message, fix)
  }
  if (problems.length > 0) return {}
  const path = resolve(context.baseDir, text)
  const file = (context.files ?? NO_FILES).of(path)
  if (!file) return {}
  if (file.text === undefined) {
    report(file.message, file.fix)
    return {}
  }
  const { values, ...wrong } = parseVariables(file.text)
  if (values) return values
  report(
    `line ${'line' in wrong ? wrong.line : 1} of ${path} is not NAME=value`,
    'correct it, or put "#" in front of it',
  )
  return {}
}
