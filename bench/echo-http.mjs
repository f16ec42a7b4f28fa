// A plain node:http MCP server with near-zero work per call: the worst case for whatever stands in front of it.
import { createServer } from 'node:http'
import { answer } from './echo.mjs'

const server = createServer((req, res) => {
  if (req.method !== 'POST') {
    res.writeHead(405, { allow: 'POST' }).end()
    return
  }
  const chunks = []
  req.on('data', chunk => chunks.push(chunk))
  req.on('end', () => {
    const body = answer(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))
    if (body === null) {
      res.writeHead(202).end()
      return
    }
    res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    res.end(body)
  })
})
server.keepAliveTimeout = 120_000
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
