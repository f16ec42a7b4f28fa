// Starts the one demo server that is not a child of the gateway, then the gateway itself. Arguments go to `serve`.
import { spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'

const here = path => fileURLToPath(new URL(path, import.meta.url))
const port = await freePort()
const remote = spawn(
  process.execPath,
  [here('../node_modules/@modelcontextprotocol/server-everything/dist/index.js'), 'streamableHttp'],
  { env: { ...process.env, PORT: String(port) }, stdio: 'ignore' },
)
await answers(port)
const gateway = spawn(
  process.execPath,
  [here('../dist/holdfast.js'), 'serve', '--config', here('demo.jsonc'), ...process.argv.slice(2)],
  { env: { ...process.env, DEMO_HTTP_PORT: String(port) }, stdio: 'inherit' },
)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => gateway.kill(signal))
gateway.on('exit', code => {
  remote.kill()
  process.exitCode = code ?? 1
})

function freePort() {
  return new Promise(resolve => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address()
      probe.close(() => resolve(free))
    })
  })
}

/** Resolves when something listens there, or after five seconds: the gateway copes with either. */
async function answers(at) {
  for (let tries = 0; tries < 100; tries += 1) {
    const open = await new Promise(resolve => {
      const socket = connect(at, '127.0.0.1', () => resolve(true))
      socket.on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
