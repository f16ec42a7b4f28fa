// Ratios, measured side by side in one run: direct, a bare node:http relay (the limit), and Holdfast.
// Slices of all targets take turns within each round; a figure is the median over rounds of the in-round ratio.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { openConnection, runLoad } from './load.mjs'
import { runPipe } from './pipe.mjs'

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 12)
const SLICE_MS = Number(process.env.BENCH_SLICE_MS ?? 500)
const here = name => fileURLToPath(new URL(name, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
const children = []

function start(args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve)
    child.once('exit', code => reject(new Error(`${args[0]} exited with code ${code}`)))
  })
}

async function startGateway(name, entry) {
  const file = join(folder, `${name}.json`)
  writeFileSync(file, JSON.stringify({ mcpServers: { bench: entry } }))
  const line = await start([
    here('../dist/holdfast.js'),
    'serve',
    '--json',
    '--quiet',
    '--port',
    '0',
    '--config',
    file,
  ])
  const port = Number(new URL(JSON.parse(line).url).port)
  return { port, toolName: 'bench__echo', headers: await openSession(port) }
}

/** The bench calls as a legacy session does: the larger part of today's clients. */
async function openSession(port) {
  const url = `http://127.0.0.1:${port}/mcp`
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  const hello = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'bench', version: '1' },
  }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params: hello })
  const response = await fetch(url, { method: 'POST', headers, body })
  await response.text()
  const session = {
    'mcp-session-id': response.headers.get('mcp-session-id'),
    'mcp-protocol-version': '2025-11-25',
  }
  const initialized = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })
  await fetch(url, { method: 'POST', headers: { ...headers, ...session }, body: initialized })
  await waitForTool(port, session)
  return session
}

async function waitForTool(port, session) {
  const connection = await openConnection(port)
  connection.end()
  for (let tries = 0; tries < 100; tries += 1) {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/tools`)
    if ((await response.text()).includes('bench__echo')) return session
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error('the gateway never listed the tool')
}

const median = values => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]

async function measure(targets, inFlight) {
  const names = Object.keys(targets)
  const rounds = []
  for (const name of names) await targets[name](inFlight, SLICE_MS) // warm-up
  for (let round = 0; round < ROUNDS; round += 1) {
    const row = {}
    for (const name of names) {
      const { rate, latencies } = await targets[name](inFlight, SLICE_MS)
      row[name] = { rate, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99) }
    }
    rounds.push(row)
  }
  return rounds
}

function report(title, rounds, verdicts) {
  console.log(`\n${title}`)
  console.log('  target      calls/s   p50 ms   p99 ms   x direct p50   calls/s x relay   added p50 x relay')
  for (const name of Object.keys(rounds[0])) {
    const of = pick => median(rounds.map(pick))
    const cells = [
      name.padEnd(10),
      of(row => row[name].rate)
        .toFixed(0)
        .padStart(8),
      of(row => row[name].p50)
        .toFixed(3)
        .padStart(8),
      of(row => row[name].p99)
        .toFixed(2)
        .padStart(8),
      of(row => row[name].p50 / row.direct.p50)
        .toFixed(2)
        .padStart(14),
      of(row => row[name].rate / row.relay.rate)
        .toFixed(2)
        .padStart(17),
      of(row => (row[name].p50 - row.direct.p50) / (row.relay.p50 - row.direct.p50))
        .toFixed(2)
        .padStart(19),
    ]
    console.log(`  ${cells.join(' ')}`)
  }
  for (const { text, value, ok } of verdicts(rounds))
    console.log(`  ${ok ? 'met ' : 'MISSED'}  ${text}: ${value}`)
}

const throughputGoal = rounds => {
  const share = median(rounds.map(row => row.holdfast.rate / row.relay.rate))
  return [
    {
      text: 'at least 60 % of the relay at 32 in flight',
      value: `${(share * 100).toFixed(0)} %`,
      ok: share >= 0.6,
    },
  ]
}
const latencyGoal = rounds => {
  const added = median(
    rounds.map(row => (row.holdfast.p50 - row.direct.p50) / (row.relay.p50 - row.direct.p50)),
  )
  return [
    {
      text: 'adds at most twice what the relay adds to p50 at 1 in flight',
      value: `${added.toFixed(2)} x`,
      ok: added <= 2,
    },
  ]
}

try {
  const upstreamPort = Number(await start([here('echo-http.mjs')]))
  const relayPort = Number(await start([here('relay.mjs'), 'http', String(upstreamPort)]))
  const pipeRelayPort = Number(await start([here('relay.mjs'), 'stdio']))
  const overHttp = await startGateway('http', { type: 'http', url: `http://127.0.0.1:${upstreamPort}/mcp` })
  const overPipe = await startGateway('stdio', { command: process.execPath, args: [here('echo-stdio.mjs')] })
  const http = {
    direct: (n, ms) => runLoad({ port: upstreamPort }, n, ms),
    relay: (n, ms) => runLoad({ port: relayPort }, n, ms),
    holdfast: (n, ms) => runLoad(overHttp, n, ms),
  }
  const stdio = {
    direct: (n, ms) => runPipe(here('echo-stdio.mjs'), n, ms),
    relay: (n, ms) => runLoad({ port: pipeRelayPort }, n, ms),
    holdfast: (n, ms) => runLoad(overPipe, n, ms),
  }
  console.log(`node ${process.version}, ${ROUNDS} rounds of ${SLICE_MS} ms slices, medians`)
  report('HTTP upstream, 1 in flight', await measure(http, 1), latencyGoal)
  report('HTTP upstream, 32 in flight', await measure(http, 32), throughputGoal)
  report('stdio upstream, 1 in flight', await measure(stdio, 1), latencyGoal)
  report('stdio upstream, 32 in flight', await measure(stdio, 32), throughputGoal)
} finally {
  for (const child of children) child.kill('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
}
