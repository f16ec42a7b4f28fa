// The fake MCP server as a stdio child: `node fake-stdio.mjs '<script as JSON, or the path of a JSON file>'`.
import { spawn } from 'node:child_process'
import { appendFileSync, closeSync, existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { FakeServer } from './fake/core.mjs'
import { eraOf, RpcError } from './fake/protocol.mjs'

const [source] = process.argv.slice(2)
const script = JSON.parse(source.startsWith('{') ? source : readFileSync(source, 'utf8'))
const { log, control } = script

function record(entry) {
  if (log) appendFileSync(log, `${JSON.stringify({ at: Date.now(), pid: process.pid, ...entry })}\n`)
}

function earlierStarts() {
  if (!log || !existsSync(log)) return 0
  return readFileSync(log, 'utf8').split('"kind":"start"').length - 1
}

function die({ code = 1, signal } = {}) {
  record({ kind: 'exit', code, signal })
  if (signal) process.kill(process.pid, signal)
  else process.exit(code)
}

const server = new FakeServer(script, { record, spawn: earlierStarts() + 1, crash: die })
record({
  kind: 'start',
  spawn: server.host.spawn,
  argv: process.argv.slice(2),
  cwd: process.cwd(),
  env: script.recordEnv ? process.env : undefined,
})

let isFirstLine = true

function write(text) {
  const { slice, crlf, bom } = server.script.stdout ?? {}
  const line = `${bom && isFirstLine ? '\ufeff' : ''}${text.replace(/[\r\n]/g, ' ')}${crlf ? '\r' : ''}\n`
  isFirstLine = false
  const bytes = Buffer.from(line)
  const step = slice ?? bytes.length
  for (let at = 0; at < bytes.length; at += step) process.stdout.write(bytes.subarray(at, at + step))
}

const peer = server.addPeer('stdio', write)
const io = {
  key: 'stdio',
  send: write,
  end: texts => texts.forEach(write),
  fault: playFault,
}

function playFault(action, [text]) {
  switch (action.kind) {
    case 'hang':
    case 'accepted':
      return
    case 'crash':
      return die(action)
    case 'close':
      return closeSync(1)
    case 'close-stdin':
      return closeInput()
    case 'flood':
      return flood(text, action)
    case 'cut':
      return void process.stdout.write(text.slice(0, action.bytes ?? Math.floor(text.length / 2)), () => {
        if (action.exit ?? true) die(action)
      })
    case 'html':
      return write('<html><body>Sign in</body></html>')
    case 'empty':
      return write('')
    default:
      throw new Error(`the stdio transport has no fault ${action.kind}`)
  }
}

function closeInput() {
  process.stdin.destroy()
  // Node leaves the descriptor itself open.
  closeSync(0)
  setInterval(() => {}, 60_000)
}

/** The head of the right answer, then filling up to the size. */
function flood(text, { bytes, end = true }) {
  const head = text.slice(0, text.indexOf('"result"'))
  const filling = 'x'.repeat(64 * 1024)
  process.stdout.write(`${head}"result":{"content":[{"type":"text","text":"`)
  for (let sent = 0; sent < bytes; sent += filling.length) process.stdout.write(filling)
  process.stdout.write(`"}]}}${end ? '\n' : ''}`)
}

async function take(line) {
  if (line.trim() === '') return
  let message
  try {
    message = JSON.parse(line)
  } catch {
    return record({ kind: 'unparsable', raw: line })
  }
  const foreign = message.method !== undefined && message.id !== undefined && !server.speaks(eraOf(message))
  if (!foreign) return server.receive(line, message, peer, io)
  if (await server.playForeign(line, message, io)) return
  write(`{"jsonrpc":"2.0","id":${JSON.stringify(message.id)},${refusal(message).body}}`)
}

/** A server of one era answers the other one's requests with an error, and lives on. */
function refusal(message) {
  if (eraOf(message) === 'modern') return new RpcError(-32601, `Method not found: ${message.method}`)
  const requested = message.params?.protocolVersion ?? null
  return new RpcError(-32022, 'Unsupported protocol version', {
    data: { supported: server.supported(), requested },
  })
}

// ---- the test's side channel -----------------------------------------------------------------------------

const COMMANDS = {
  set: ({ script: next }) => {
    server.script = next
  },
  release: ({ gate, times }) => server.release(gate, times),
  announce: ({ what }) => server.announce(what),
  updated: ({ uri }) => server.updated(uri),
  say: ({ text }) => write(text),
  quit: die,
  closeInput,
  endListens: () => server.endListens(),
}

function openControl(port) {
  const socket = connect(port, '127.0.0.1')
  let rest = ''
  socket.on('error', () => {})
  socket.on('data', chunk => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const command = JSON.parse(line)
      COMMANDS[command.do](command)
      socket.write(`${JSON.stringify({ ack: command.seq })}\n`)
    }
  })
  socket.write(`${JSON.stringify({ pid: process.pid })}\n`)
  socket.unref()
}

// ---- start -----------------------------------------------------------------------------------------------

function listen() {
  let rest = ''
  process.stdin.setEncoding('utf8')
  process.stdin.on('data', chunk => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      take(line).catch(thrown => {
        record({ kind: 'fault-of-the-fake', message: String(thrown?.stack ?? thrown) })
        process.stderr.write(`${thrown?.stack ?? thrown}\n`)
      })
    }
  })
  process.stdin.on('end', () => {
    record({ kind: 'stdin-end' })
    if (!script.ignoreStdinEnd) process.exit(0)
    setInterval(() => {}, 60_000)
  })
}

process.on('SIGTERM', () => {
  record({ kind: 'sigterm' })
  if (!script.ignoreSigterm) process.exit(143)
})
process.stdout.on('error', () => {})
if (control) openControl(control)
if (script.grandchild) {
  const marker = log ?? 'fake-grandchild'
  const code = `${script.ignoreSigterm ? "process.on('SIGTERM', () => {});" : ''}setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', code, marker], { stdio: ['ignore', 'inherit', 'inherit'] })
  record({ kind: 'grandchild', grandchild: child.pid })
}
for (const line of script.banner ?? []) process.stdout.write(`${line}\n`)
for (const line of script.stderr ?? []) process.stderr.write(`${line}\n`)

const [atStart] = server.faults({ on: 'start' })
if (atStart?.do.kind === 'crash') {
  if (atStart.do.stderr) process.stderr.write(`${atStart.do.stderr}\n`)
  die(atStart.do)
} else if (atStart?.do.kind === 'delay') setTimeout(listen, atStart.do.ms)
else if (atStart?.do.kind === 'hang') setInterval(() => {}, 60_000)
else listen()
