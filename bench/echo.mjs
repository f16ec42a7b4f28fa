// The answers of the bench's MCP servers (legacy era).
const TOOL = { name: 'echo', inputSchema: { type: 'object', properties: { text: { type: 'string' } } } }

/** One JSON-RPC message in, its answer out; null for a notification. */
export function answer(bytes) {
  const { id, method, params } = JSON.parse(bytes.toString())
  if (id === undefined) return null
  return JSON.stringify({ jsonrpc: '2.0', id, ...reply(method, params) })
}

function reply(method, params) {
  switch (method) {
    case 'initialize':
      return {
        result: {
          protocolVersion: params.protocolVersion,
          capabilities: { tools: {} },
          serverInfo: { name: 'bench-echo', version: '1' },
        },
      }
    case 'tools/list':
      return { result: { tools: [TOOL] } }
    case 'tools/call':
      return { result: { content: [{ type: 'text', text: params.arguments.text }] } }
    case 'ping':
      return { result: {} }
    default:
      return { error: { code: -32601, message: `Method not found: ${method}` } }
  }
}
