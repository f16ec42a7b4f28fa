import { createHash } from 'node:crypto'
import { type GatewaySettings, MASK } from '../config/index.js'
import { canonicalJson } from '../core/catalog/index.js'
import { type Entry, optionName } from '../core/reload/index.js'
import type { HttpSpec, StdioSpec, UpstreamSpec } from '../model/index.js'

/** The configuration that runs, with every default written out. Times are in ms. */
export interface ConfigView {
  /** In the order of the config. */
  readonly servers: readonly ServerView[]
  /** Of the gateway itself, as under `holdfast`. */
  readonly holdfast: Readonly<Record<string, unknown>>
}

export interface ServerView {
  readonly name: string
  /** As an entry of `mcpServers`, with `***` for whatever may be a secret; null where nothing can be made of it. */
  readonly entry: Readonly<Record<string, unknown>> | null
  /** Why nothing can be made of it. */
  readonly problem: string | null
}

/** Keeps what it made: with thousands of servers, and a status every second, it is made once a configuration. */
export class ConfigViewer {
  #of: { readonly entries: readonly Entry[]; readonly settings: GatewaySettings } | null = null
  #view: ConfigView = { servers: [], holdfast: {} }
  #hash: string | null = null

  view(entries: readonly Entry[], settings: GatewaySettings): ConfigView {
    if (this.#of?.entries === entries && this.#of.settings === settings) return this.#view
    this.#of = { entries, settings }
    this.#hash = null
    this.#view = { servers: entries.map(viewOf), holdfast: named(settings) }
    return this.#view
  }

  /** Of the view, so that nobody can try out secrets on it: the same for two configs that differ in secrets alone. */
  hash(entries: readonly Entry[], settings: GatewaySettings): string {
    const view = this.view(entries, settings)
    this.#hash ??= createHash('sha256')
      .update(canonicalJson(JSON.stringify(view)))
      .digest('hex')
      .slice(0, 16)
    return this.#hash
  }
}

function viewOf(entry: Entry): ServerView {
  const { name } = entry
  if ('problem' in entry) return { name, entry: null, problem: entry.problem }
  const { transport } = entry
  const reached = transport.kind === 'stdio' ? programOf(transport) : addressOf(transport)
  return { name, entry: { ...reached, holdfast: optionsOf(entry) }, problem: null }
}

/** The name of the program and of its folder stand in the log too, where they are not found. */
function programOf({ command, args, env, cwd }: StdioSpec): Record<string, unknown> {
  return { command, args: args.map(maskArgument), env: masked(env), ...(cwd === undefined ? {} : { cwd }) }
}

function addressOf({ kind, url, headers }: HttpSpec): Record<string, unknown> {
  return { ...(kind === 'auto' ? {} : { type: kind }), url: maskUrl(url), headers: masked(headers) }
}

function masked(words: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.keys(words).map(name => [name, MASK]))
}

/** Names of options are told, never what they are given: `--key abc` and `--key=abc` are secrets. */
function maskArgument(text: string): string {
  const [, option, given] = /^(--[A-Za-z][\w-]{0,30})(=[\s\S]*)?$/.exec(text) ?? []
  if (option === undefined) return MASK
  return given === undefined ? option : `${option}=${MASK}`
}

/** Some services put the key into the path. */
function maskUrl(text: string): string {
  const { origin, pathname, search } = new URL(text)
  const isPlain = /^\/(mcp|sse)?\/?$/.test(pathname)
  return `${origin}${isPlain ? pathname : `/${MASK}`}${search === '' ? '' : `?${MASK}`}`
}

/** Under the names that they have in a config. */
function optionsOf(spec: UpstreamSpec): Record<string, unknown> {
  const { name: _name, transport: _transport, timeouts, supervision, cacheResults, ...others } = spec
  const rules = Object.fromEntries(cacheResults.map(({ pattern, ttlMs }) => [pattern, ttlMs]))
  const groups = { timeouts, supervision }
  const grouped = Object.entries(groups).flatMap(([group, options]) =>
    Object.entries(options).flatMap(([key, value]) => {
      const name = optionName([group, key])
      return name === null ? [] : [[name, value]]
    }),
  )
  // The patterns are names of tools, not of options.
  return { ...named({ ...others, ...Object.fromEntries(grouped) }), cacheResults: rules }
}

/** Without the unit in the names, and without what is not set. */
function named(value: object): Record<string, unknown> {
  const entries = Object.entries(value).filter(([, one]) => one !== null && one !== undefined)
  return Object.fromEntries(
    entries.map(([key, one]) => [
      key.replace(/Ms$/, ''),
      typeof one === 'object' && !Array.isArray(one) ? named(one) : one,
    ]),
  )
}
