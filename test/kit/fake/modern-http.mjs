// What a modern server checks on the HTTP headers before it looks at the method.
import { headerParams } from './catalog.mjs'
import { META, MODERN_VERSION, RpcError } from './protocol.mjs'

const NAMED = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }

/** @throws RpcError with the HTTP status to use */
export function checkModern(headers, message, script, supported) {
  const { method, params } = message
  const version = params._meta[META.version]
  requireEqual('MCP-Protocol-Version', headers['mcp-protocol-version'], version)
  if (version !== MODERN_VERSION) {
    throw new RpcError(-32022, 'Unsupported protocol version', {
      status: 400,
      data: { supported, requested: version },
    })
  }
  if (typeof params._meta[META.capabilities] !== 'object') {
    throw new RpcError(-32602, `Missing _meta["${META.capabilities}"]`, { status: 400 })
  }
  requireEqual('Mcp-Method', headers['mcp-method'], method)
  const member = NAMED[method]
  if (member) requireEqual('Mcp-Name', decode('Mcp-Name', headers['mcp-name']), params[member])
  if (method === 'tools/call') checkParams(headers, params, script)
}

function checkParams(headers, params, script) {
  for (const { path, header } of headerParams(script, params.name)) {
    const value = path.reduce((node, key) => node?.[key], params.arguments)
    const name = `Mcp-Param-${header}`
    const given = decode(name, headers[name.toLowerCase()])
    if (value === undefined || value === null) {
      if (given !== undefined) throw mismatch(`${name} is not expected`)
    } else if (given === undefined || !same(given, value)) {
      throw mismatch(`${name} does not match the body`)
    }
  }
}

function same(given, value) {
  return typeof value === 'number' ? Number(given) === value : given === String(value)
}

function requireEqual(name, given, wanted) {
  if (given === undefined) throw mismatch(`${name} is missing`)
  if (given !== wanted)
    throw mismatch(`${name} is ${JSON.stringify(given)}, the body says ${JSON.stringify(wanted)}`)
}

function decode(name, value) {
  const match = /^=\?base64\?(.*)\?=$/.exec(value ?? '')
  if (!match) return value
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(match[1])) {
    throw mismatch(`${name} is not valid base64`)
  }
  return Buffer.from(match[1], 'base64').toString('utf8')
}

function mismatch(message) {
  return new RpcError(-32020, `Header mismatch: ${message}`, { status: 400 })
}
