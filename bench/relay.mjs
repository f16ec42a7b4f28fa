// The limit: a bare node:http relay that knows nothing. `relay.mjs http PORT` or `relay.mjs stdio`.
import { spawn } from 'node:child_process'
import { Agent, createServer, request } from 'node:http'

const [kind, port] = process.argv.slice(2)
const forward = kind === 'http' ? overHttp(Number(port)) : overPipe()

const server = createServer((req, res) => {
  const chunks = []
  req.on('data', chunk => chunks.push(chunk))
  req.on('end', () => forward(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks), res))
})
server.keepAliveTimeout = 120_000
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))

function overHttp(target) {
  const agent = new Agent({ keepAlive: true, maxSockets: 256 })
  return (body, res) => {
    const upstream = request(
      {
        agent,
        host: '127.0.0.1',
        port: target,
        method: 'POST',
        path: '/mcp',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          'content-length': body.length,
        },
      },
      answer => {
        const chunks = []
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('end', () => {
          const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)
          res.writeHead(answer.statusCode, {
            'content-type': 'application/json',
            'content-length': bytes.length,
          })
          res.end(bytes)
        })
      },
    )
    upstream.on('error', () => res.destroy())
    upstream.end(body)
  }
}

/** Ids are replaced by our own, because several clients share the pipe; nothing else is looked at. */
function overPipe() {
  const child = spawn(process.execPath, [new URL('echo-stdio.mjs', import.meta.url).pathname], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const waiting = new Map()
  let next = 1
  let rest = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', chunk => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const message = JSON.parse(line)
      const { id, res } = waiting.get(message.id)
      waiting.delete(message.id)
      message.id = id
      const body = JSON.stringify(message)
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
      res.end(body)
    }
  })
  process.on('exit', () => child.kill())
  process.on('SIGTERM', () => process.exit(0))
  return (body, res) => {
    const message = JSON.parse(body.toString())
    waiting.set(next, { id: message.id, res })
    message.id = next++
    child.stdin.write(`${JSON.stringify(message)}\n`)
  }
}
