// The same load straight into a child's pipe: what a stdio server can do with nothing in front of it.
import { spawn } from 'node:child_process'

let shared = null

export async function runPipe(script, inFlight, ms) {
  shared ??= open(script)
  const until = performance.now() + ms
  const latencies = []
  const started = performance.now()
  await Promise.all(Array.from({ length: inFlight }, () => loop(until, latencies)))
  const elapsed = performance.now() - started
  return { rate: (latencies.length / elapsed) * 1000, latencies: latencies.sort((a, b) => a - b) }
}

async function loop(until, latencies) {
  while (performance.now() < until) {
    const start = performance.now()
    const text = `${start}-${'x'.repeat(60)}`
    const answer = await shared.call(text)
    latencies.push(performance.now() - start)
    if (!answer.includes(text)) throw new Error(`wrong answer: ${answer}`)
  }
}

function open(script) {
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.unref()
  child.stdout.unref()
  child.stdin.unref()
  const waiting = new Map()
  let next = 1
  let rest = ''
  child.stdout.setEncoding('utf8')
  child.stdout.on('data', chunk => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const id = JSON.parse(line).id
      waiting.get(id)(line)
      waiting.delete(id)
    }
  })
  process.on('exit', () => child.kill())
  return {
    call: text =>
      new Promise(resolve => {
        const id = next++
        waiting.set(id, resolve)
        const params = `{"name":"echo","arguments":{"text":"${text}"}}`
        child.stdin.write(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}\n`)
      }),
  }
}
