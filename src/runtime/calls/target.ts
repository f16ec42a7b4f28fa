import type { Target } from '../../core/route/index.js'
import { type Bytes, type Call, GatewayError, type ObjectSlice, type Scope } from '../../model/index.js'
import { editObject, json, member, objectAt, stringAt, typeAt } from '../../wire/index.js'

/**
 * What a request is about, read from its params.
 * @throws GatewayError INVALID_PARAMS when the member that names it is missing, METHOD_NOT_FOUND when no server could own it
 */
export function targetOf(call: Call): Target {
  switch (call.method) {
    case 'tools/call':
      return { kind: 'tool', name: requireString(call, 'name') }
    case 'prompts/get':
      return { kind: 'prompt', name: requireString(call, 'name') }
    case 'resources/read':
      return { kind: 'resource', uri: requireString(call, 'uri') }
    case 'completion/complete':
      return refOf(call)
    default:
      return serverTarget(call.method, call.context.scope)
  }
}

/** A method we do not know has an owner only where there is a single server. */
function serverTarget(method: string, scope: Scope): Target {
  if (scope.kind === 'server') return { kind: 'server' }
  throw new GatewayError('METHOD_NOT_FOUND', `Method not found: ${method}`)
}

function requireString(call: Call, key: string): string {
  const found = call.params && member(call.params, key)
  const value = found && call.params ? stringAt(call.params.bytes, found) : undefined
  if (value === undefined)
    throw new GatewayError('INVALID_PARAMS', `${call.method} needs params.${key}, a string.`)
  return value
}

function refObject(params: ObjectSlice | null): ObjectSlice | null {
  const found = params && member(params, 'ref')
  if (!found || typeAt(params.bytes, found) !== 'object') return null
  return objectAt(params.bytes, found)
}

function refOf(call: Call): Target {
  const ref = refObject(call.params)
  const text = (key: string) => {
    const found = ref && member(ref, key)
    return found ? stringAt(ref.bytes, found) : undefined
  }
  const name = text('name')
  if (text('type') === 'ref/prompt' && name !== undefined) return { kind: 'ref-prompt', name }
  const uri = text('uri')
  if (text('type') === 'ref/resource' && uri !== undefined) return { kind: 'ref-resource', uri }
  throw new GatewayError(
    'INVALID_PARAMS',
    'completion/complete needs params.ref: {"type":"ref/prompt","name":…} or {"type":"ref/resource","uri":…}.',
  )
}

/** The members of params that must change so that the server sees its own name; undefined when none has to. */
export function nativeParams(
  call: Call,
  target: Target,
  native: string,
): ReadonlyMap<string, Bytes> | undefined {
  switch (target.kind) {
    case 'tool':
    case 'prompt':
      return native === target.name ? undefined : new Map([['name', json(native)]])
    case 'resource':
      return native === target.uri ? undefined : new Map([['uri', json(native)]])
    case 'ref-prompt':
      return native === target.name ? undefined : replaceRef(call, 'name', native)
    case 'ref-resource':
      return native === target.uri ? undefined : replaceRef(call, 'uri', native)
    case 'server':
      return undefined
  }
}

function replaceRef(call: Call, key: string, native: string): ReadonlyMap<string, Bytes> | undefined {
  const ref = refObject(call.params)
  return ref ? new Map([['ref', editObject(ref, new Map([[key, json(native)]]))]]) : undefined
}

/** How the target is called in messages to people. */
export function describeTarget(target: Target): string {
  switch (target.kind) {
    case 'tool':
      return `tool: ${target.name}`
    case 'prompt':
    case 'ref-prompt':
      return `prompt: ${target.name}`
    case 'resource':
    case 'ref-resource':
      return `resource: ${target.uri}`
    case 'server':
      return 'method'
  }
}
