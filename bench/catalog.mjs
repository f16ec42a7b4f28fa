// Many servers with many tools: what a server costs in time and memory, how long the merged list takes, and what calls
// feel of lists that are fetched anew. Slices with and without refreshes take turns; the ratio is the figure.
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { runLoad } from './load.mjs'

const SERVERS = Number(process.env.BENCH_SERVERS ?? 200)
const TOOLS = Number(process.env.BENCH_TOOLS ?? 50)
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 8)
const SLICE_MS = Number(process.env.BENCH_SLICE_MS ?? 1_000)
/** List refreshes a second: with a TTL of 300 s, 200 servers need 0.7. */
const REFRESHES = Number(process.env.BENCH_REFRESHES ?? 20)
const here = name => fileURLToPath(new URL(name, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'))
const children = []

function start(args, env = {}) {
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  })
  children.push(child)
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', line => resolve({ line, child }))
    child.once('exit', code => reject(new Error(`${args[0]} exited with code ${code}`)))
  })
}

async function startGateway(count, port) {
  const state = join(folder, `state-${count}`)
  const file = join(folder, `${count}.json`)
  const mcpServers = {}
  for (let n = 0; n < count; n += 1) {
    mcpServers[`s${n}`] = {
      type: 'http',
      url: `http://127.0.0.1:${port}/${n}`,
      holdfast: { era: 'legacy' },
    }
  }
  writeFileSync(file, JSON.stringify({ mcpServers }))
  const args = [here('../dist/holdfast.js'), 'serve', '--json', '--quiet', '--port', '0', '--config', file]
  const startedAt = performance.now()
  const { line, child } = await start(args, { HOLDFAST_STATE_DIR: state })
  const { origin, port: own } = new URL(JSON.parse(line).url)
  const [control] = readdirSync(state).filter(name => name.endsWith('.json') && name.includes(own))
  const { token } = JSON.parse(readFileSync(join(state, control), 'utf8'))
  const gateway = { origin, port: Number(own), pid: child.pid, token, startedAt }
  await until(async () => (await listAll(gateway)).tools === count * TOOLS)
  return { ...gateway, wholeMs: performance.now() - startedAt }
}

async function until(holds) {
  while (!(await holds())) await new Promise(resolve => setTimeout(resolve, 20))
}

let nextId = 1
async function request(gateway, method, params, session = {}) {
  const response = await fetch(`${gateway.origin}/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...session,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: nextId++, method, params }),
  })
  return { answer: await response.text(), headers: response.headers }
}

async function sessionOf(gateway) {
  const { headers } = await request(gateway, 'initialize', {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'bench', version: '1' },
  })
  return { 'mcp-session-id': headers.get('mcp-session-id'), 'mcp-protocol-version': '2025-11-25' }
}

async function listAll(gateway) {
  gateway.session ??= await sessionOf(gateway)
  const startedAt = performance.now()
  let [tools, bytes, cursor] = [0, 0, undefined]
  do {
    const { answer } = await request(gateway, 'tools/list', cursor ? { cursor } : {}, gateway.session)
    const { result } = JSON.parse(answer)
    tools += result.tools.length
    bytes += answer.length
    cursor = result.nextCursor
  } while (cursor)
  return { tools, bytes, ms: performance.now() - startedAt }
}

/** Resident memory in bytes (Linux). */
const rss = pid => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024

async function refreshAll(gateway, ms) {
  const end = performance.now() + ms
  let refreshes = 0
  for (let n = 0; performance.now() < end; n = (n + 1) % SERVERS) {
    await new Promise(resolve => setTimeout(resolve, 1_000 / REFRESHES))
    await fetch(`${gateway.origin}/api/v1/upstreams/s${n}/refresh`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.token}` },
    }).then(response => response.text())
    refreshes += 1
  }
  return refreshes
}

const median = values => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]

try {
  const { line } = await start([here('many-http.mjs'), String(TOOLS)])
  const port = Number(line)
  const one = await startGateway(1, port)
  const many = await startGateway(SERVERS, port)
  const first = await listAll(many)
  const lists = []
  for (let n = 0; n < 10; n += 1) lists.push((await listAll(many)).ms)
  const perServer = (rss(many.pid) - rss(one.pid)) / (SERVERS - 1)
  console.log(`node ${process.version}, ${SERVERS} servers with ${TOOLS} tools each`)
  console.log(
    `  from process start to the whole list: ${many.wholeMs.toFixed(0)} ms, one server: ${one.wholeMs.toFixed(0)} ms`,
  )
  console.log(
    `  that is ${((many.wholeMs - one.wholeMs) / (SERVERS - 1)).toFixed(1)} ms and ${(perServer / 1024).toFixed(0)} KiB of memory a server`,
  )
  console.log(
    `  merged list of ${first.tools} tools, ${(first.bytes / 1e6).toFixed(1)} MB, from memory: ${median(lists).toFixed(0)} ms for all pages`,
  )

  const target = { port: many.port, headers: many.session, toolName: 's7__tool_0' }
  const rounds = []
  await runLoad(target, 8, SLICE_MS)
  for (let round = 0; round < ROUNDS; round += 1) {
    const quiet = await runLoad(target, 8, SLICE_MS)
    const [busy, refreshes] = await Promise.all([runLoad(target, 8, SLICE_MS), refreshAll(many, SLICE_MS)])
    rounds.push({ quiet, busy, refreshes })
  }
  const of = pick => median(rounds.map(pick))
  for (const q of [0.5, 0.99]) {
    const [quiet, busy] = ['quiet', 'busy'].map(name => of(row => quantile(row[name].latencies, q)))
    const ratio = of(row => quantile(row.busy.latencies, q) / quantile(row.quiet.latencies, q))
    console.log(
      `  p${q * 100} of calls, 8 in flight: ${quiet.toFixed(2)} ms; with ${of(row => row.refreshes)} list refreshes a slice of ${SLICE_MS} ms: ${busy.toFixed(2)} ms (${ratio.toFixed(2)} x)`,
    )
  }
} finally {
  for (const child of children) child.kill('SIGTERM')
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 })
}
