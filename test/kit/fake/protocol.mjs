// The words of both eras that the fake speaks.
export const MODERN_VERSION = '2026-07-28'
export const LEGACY_VERSIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05']

const PREFIX = 'io.modelcontextprotocol/'
export const META = {
  version: `${PREFIX}protocolVersion`,
  capabilities: `${PREFIX}clientCapabilities`,
  clientInfo: `${PREFIX}clientInfo`,
  logLevel: `${PREFIX}logLevel`,
  serverInfo: `${PREFIX}serverInfo`,
  subscriptionId: `${PREFIX}subscriptionId`,
}

/** The four lists: script key, member of the result, identity of an item. */
export const LISTS = {
  'tools/list': { kind: 'tools', member: 'tools' },
  'resources/list': { kind: 'resources', member: 'resources' },
  'resources/templates/list': { kind: 'resourceTemplates', member: 'resourceTemplates' },
  'prompts/list': { kind: 'prompts', member: 'prompts' },
}

/** Methods that an era does not have. */
export const FOREIGN = {
  modern: new Set(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']),
  legacy: new Set(['server/discover', 'subscriptions/listen']),
}

/** Modern results of these carry cache hints. */
export const CACHEABLE = new Set([...Object.keys(LISTS), 'resources/read', 'server/discover'])

export const CHANGED = {
  tools: { method: 'notifications/tools/list_changed', filter: 'toolsListChanged' },
  resources: { method: 'notifications/resources/list_changed', filter: 'resourcesListChanged' },
  prompts: { method: 'notifications/prompts/list_changed', filter: 'promptsListChanged' },
}

/** A refusal in JSON-RPC terms; `status` is what HTTP says with it. */
export class RpcError extends Error {
  constructor(code, message, { data, status = 200 } = {}) {
    super(message)
    this.code = code
    this.data = data
    this.status = status
  }

  get body() {
    const { code, message, data } = this
    return `"error":${JSON.stringify({ code, message, ...(data === undefined ? {} : { data }) })}`
  }
}

/** `modern` when the message carries the per-request version of the modern era. */
export function eraOf(message) {
  const claimed = message.params?._meta?.[META.version]
  return typeof claimed === 'string' && !LEGACY_VERSIONS.includes(claimed) ? 'modern' : 'legacy'
}
