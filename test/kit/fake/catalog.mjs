// What the fake offers: built-in and scripted tools, resources, templates, prompts; paged lists.
import { LISTS, RpcError } from './protocol.mjs'

export const BUILTINS = {
  echo: 'Returns its arguments, byte for byte.',
  count: 'Adds one to a counter and returns it.',
  sleep: 'Waits `ms` milliseconds; can be cancelled.',
  whoami: 'Tells what the server sees of its caller.',
  fail: 'Returns a result with isError.',
  progress: 'Sends `n` progress notifications, `ms` apart or one per release of `gate`.',
  log: 'Sends a log notification.',
  ask: 'Asks the client `method` with `params` and returns the answer.',
  big: 'Returns a text of `bytes` bytes.',
  exit: 'Ends the process (or the listener) with `code` or `signal`.',
  announce: 'Sends list_changed for `kind`.',
}

/** Every tool of a script, the scripted ones first; a scripted tool replaces the built-in of the same name. */
export function toolsOf(script) {
  const scripted = script.tools ?? []
  const wanted = script.builtins ?? true
  const builtins = Object.keys(BUILTINS)
    .filter(name => wanted === true || (Array.isArray(wanted) && wanted.includes(name)))
    .filter(name => !scripted.some(tool => tool.name === name))
    .map(name => ({ name, behaves: name, descriptor: { description: BUILTINS[name] } }))
  return [...scripted, ...builtins]
}

export function offers(script, kind) {
  if (kind === 'tools') return toolsOf(script).length > 0 || script.tools !== undefined
  if (kind === 'prompts') return script.prompts !== undefined
  return script.resources !== undefined || script.resourceTemplates !== undefined
}

export function capabilitiesOf(script) {
  if (script.capabilities) return script.capabilities
  return {
    logging: {},
    completions: {},
    ...(offers(script, 'tools') ? { tools: { listChanged: true } } : {}),
    ...(offers(script, 'resources') ? { resources: { listChanged: true, subscribe: true } } : {}),
    ...(offers(script, 'prompts') ? { prompts: { listChanged: true } } : {}),
  }
}

/** Raw result of one list request. */
export function listPage(script, method, cursor) {
  const { kind, member } = LISTS[method]
  if (!offers(script, kind)) throw new RpcError(-32601, `Method not found: ${method}`, { status: 404 })
  const items = (kind === 'tools' ? toolsOf(script) : (script[kind] ?? [])).map(item => describe(kind, item))
  const size = script.pageSize ?? (items.length || 1)
  const names = Array.from({ length: Math.max(1, Math.ceil(items.length / size)) }, (_, page) =>
    script.emptyCursor && page === 1 ? '' : `page-${page}`,
  )
  const page = cursor === undefined ? 0 : names.indexOf(cursor)
  if (page < 0) throw new RpcError(-32602, `Invalid cursor: ${cursor}`)
  const last = page === names.length - 1
  const next = last ? (script.loop?.includes(kind) ? names[Math.min(1, page)] : undefined) : names[page + 1]
  const rows = items.slice(page * size, (page + 1) * size).join(',')
  return `{"${member}":[${rows}]${next === undefined ? '' : `,"nextCursor":${JSON.stringify(next)}`}}`
}

function describe(kind, item) {
  if (item.raw !== undefined) return item.raw
  if (kind === 'tools') {
    return JSON.stringify({ name: item.name, inputSchema: { type: 'object' }, ...item.descriptor })
  }
  if (kind === 'resources')
    return JSON.stringify({ uri: item.uri, name: item.name ?? item.uri, ...item.descriptor })
  if (kind === 'resourceTemplates') {
    return JSON.stringify({
      uriTemplate: item.uriTemplate,
      name: item.name ?? item.uriTemplate,
      ...item.descriptor,
    })
  }
  return JSON.stringify({ name: item.name, ...item.descriptor })
}

/** Raw result of `resources/read`. */
export function readResource(script, uri, era) {
  const found =
    script.resources?.find(resource => resource.uri === uri) ??
    script.resourceTemplates?.find(template => matches(template.uriTemplate, uri))
  if (!found) {
    const modern = era === 'modern'
    throw new RpcError(modern ? -32602 : -32002, 'Resource not found', { data: { uri } })
  }
  return (
    found.result ??
    JSON.stringify({ contents: [{ uri, mimeType: 'text/plain', text: found.text ?? `text of ${uri}` }] })
  )
}

function matches(template, uri) {
  const literal = template.split(/\{[^}]*\}/).map(part => part.replace(/[.*+?^$()|[\]\\{}]/g, '\\$&'))
  return new RegExp(`^${literal.join('.+')}$`).test(uri)
}

/** Raw result of `prompts/get`. */
export function getPrompt(script, name, args) {
  const prompt = script.prompts?.find(candidate => candidate.name === name)
  if (!prompt) throw new RpcError(-32602, `Unknown prompt: ${name}`)
  const text = prompt.text ?? `${name} ${JSON.stringify(args ?? {})}`
  return prompt.result ?? JSON.stringify({ messages: [{ role: 'user', content: { type: 'text', text } }] })
}

/** `x-mcp-header` annotations of a tool: path of keys to header suffix. */
export function headerParams(script, name) {
  const tool = toolsOf(script).find(candidate => candidate.name === name)
  const schema = tool?.raw ? JSON.parse(tool.raw).inputSchema : tool?.descriptor?.inputSchema
  const found = []
  const walk = (node, path) => {
    for (const [key, child] of Object.entries(node?.properties ?? {})) {
      if (child['x-mcp-header']) found.push({ path: [...path, key], header: child['x-mcp-header'] })
      walk(child, [...path, key])
    }
  }
  walk(schema, [])
  return found
}
