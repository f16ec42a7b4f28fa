import { resolve } from 'node:path'
import { makeExpander, type Report } from './expander.js'
import type { Values } from './interpolate.js'
import type { ReadingContext } from './read.js'
import { type FileText, parseVariables } from './referred-files.js'

/** Stands for what is fetched first: the reading that holds it is thrown away. */
const TO_COME = 'to-come'

/** Undefined when it has to be fetched first. Where a text is read by itself, no file can be read. */
function fileOf({ files }: ReadingContext, path: string): FileText | undefined {
  return files
    ? files.of(path)
    : { message: `${path} cannot be read here`, fix: 'put the value itself there' }
}

/** What the references of an entry stand for. */
export function valuesOf(context: ReadingContext): Values {
  return {
    env: context.env,
    file: path => {
      const file = fileOf(context, resolve(context.baseDir, path))
      if (!file) return TO_COME
      if (file.text === undefined) return { kind: 'unreadable', message: file.message, fix: file.fix }
      // Editors and shells end a file with a line break that is no part of the value.
      return file.text.replace(/\r?\n$/, '')
    },
  }
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
  const isOne = typeof written === 'string'
  const all: Record<string, string> = {}
  for (const [index, name] of (isOne ? [written] : written).entries()) {
    const key = isOne ? ['envFile'] : ['envFile', index]
    const path = makeExpander(valuesOf(context), report)(key, name)
    if (path === null) continue
    const tell = (message: string, fix: string) => report(key, message, fix)
    Object.assign(all, variablesIn(resolve(context.baseDir, path), context, tell))
  }
  return all
}

function variablesIn(
  path: string,
  context: ReadingContext,
  report: (message: string, fix: string) => void,
): Readonly<Record<string, string>> {
  const file = fileOf(context, path)
  if (!file) return {}
  if (file.text === undefined) {
    report(file.message, file.fix)
    return {}
  }
  const found = parseVariables(file.text)
  if (found.values) return found.values
  report(`line ${found.line} of ${path} is not NAME=value`, 'correct it, or put "#" in front of it')
  return {}
}
