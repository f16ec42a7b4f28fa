// Many MCP servers behind one port, told apart by path: 50 tools each, of the size of real ones.
import { createServer } from 'node:http'

const TOOLS = Number(process.argv[2] ?? 50)
const text = 'Reads what is asked for and answers with it. Takes the options below; see their descriptions. '
const tool = n => ({
  name: `tool_${n}`,
  description: text.repeat(2),
  inputSchema: {
    type: 'object',
    properties: {
      text: { type: 'string', description: text },
      limit: { type: 'integer', minimum: 1, maximum: 100 },
    },
    required: ['text'],
  },
})
const list = JSON.stringify({ tools: Array.from({ length: TOOLS }, (_, n) => tool(n)) })

function result(method, params) {
  if (method === 'initialize') {
    const capabilities = { tools: {} }
    return JSON.stringify({
      protocolVersion: params.protocolVersion,
      capabilities,
      serverInfo: { name: 'many', version: '1' },
    })
  }
  if (method === 'tools/list') return list
  if (method === 'ping') return '{}'
  if (method !== 'tools/call') return null
  return JSON.stringify({ content: [{ type: 'text', text: params.arguments.text }] })
}

const server = createServer((req, res) => {
  if (req.method !== 'POST') return void res.writeHead(405, { allow: 'POST' }).end()
  const chunks = []
  req.on('data', chunk => chunks.push(chunk))
  req.on('end', () => {
    const { id, method, params } = JSON.parse(Buffer.concat(chunks).toString())
    if (id === undefined) return void res.writeHead(202).end()
    const known = result(method, params)
    const answer = known === null ? `"error":{"code":-32601,"message":"no ${method}"}` : `"result":${known}`
    const body = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},${answer}}`
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    res.end(body)
  })
})
server.keepAliveTimeout = 120_000
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
