import { nameProblem, serverChange } from '../config/index.js'
import { type EditOptions, openForEdit, writeChanges } from './edit-config.js'
import { CommandFailure, EXIT } from './exit.js'

export interface AddOptions extends EditOptions {
  /** `NAME=VALUE`. */
  readonly env?: readonly string[]
  /** `NAME: VALUE`. */
  readonly header?: readonly string[]
  readonly prefix?: string
  readonly lazy?: boolean
}

/**
 * Writes a server into the config file.
 * @param program what stood behind "--"; null = nothing, and `words` must be an address
 */
export async function add(
  name: string,
  words: readonly string[],
  program: readonly string[] | null,
  options: AddOptions,
): Promise<number> {
  const badName = nameProblem(name)
  if (badName) throw wrong(badName)
  const entry = program ? stdioEntry(words, program, options) : remoteEntry(words, options)
  const holdfast = {
    ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
    ...(options.lazy ? { lazy: true } : {}),
  }
  const file = await openForEdit(options, true)
  if (Object.hasOwn(file.servers, name)) {
    const message = `${file.path} has a server "${name}" already. Remove it first, or take another name.`
    throw new CommandFailure(EXIT.failed, message)
  }
  const whole = Object.keys(holdfast).length === 0 ? entry : { ...entry, holdfast }
  await writeChanges(file, [serverChange(file, name, whole)], options)
  return EXIT.ok
}

function stdioEntry(
  words: readonly string[],
  program: readonly string[],
  { env, header }: AddOptions,
): Record<string, unknown> {
  const [command, ...args] = program
  if (!command) throw wrong('there is no program behind "--"')
  if (words.length > 0) throw wrong('give an address, or a program behind "--", and not both')
  if (header) throw wrong('--header is for a remote server; a program gets --env')
  return {
    command,
    ...(args.length > 0 ? { args } : {}),
    ...(env ? { env: pairs(env, /^([^=]+)=([\s\S]*)$/, '--env NAME=VALUE') } : {}),
  }
}

function remoteEntry(words: readonly string[], { env, header }: AddOptions): Record<string, unknown> {
  const [url, more] = words
  if (url === undefined) throw wrong('say where the server is: an address, or "-- PROGRAM ARGUMENTS..."')
  if (more !== undefined) throw wrong(`a program goes behind "--": holdfast add NAME -- ${words.join(' ')}`)
  if (!/^https?:\/\//i.test(url) || !(URL.canParse(url) || url.includes('${')))
    throw wrong('that is no http(s) address; a program goes behind "--"')
  if (env) throw wrong('--env is for a program; a remote server gets --header')
  return {
    url,
    ...(header ? { headers: pairs(header, /^([^:]+):\s*([\s\S]*)$/, '--header NAME:VALUE') } : {}),
  }
}

/** The text itself is not repeated: it may be a secret. */
function pairs(texts: readonly string[], form: RegExp, usage: string): Record<string, string> {
  const found: [string, string][] = []
  for (const text of texts) {
    const [, key, value] = form.exec(text) ?? []
    if (key === undefined || value === undefined) throw wrong(`write ${usage}`)
    if (found.some(([known]) => known === key)) throw wrong(`"${key}" is given twice`)
    found.push([key, value])
  }
  return Object.fromEntries(found)
}

function wrong(message: string): CommandFailure {
  return new CommandFailure(EXIT.usage, message)
}
