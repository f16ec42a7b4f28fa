// A closed-loop load: hand-written keep-alive HTTP/1.1 over plain sockets, cheap enough not to be what is measured.
import { connect } from 'node:net'

/**
 * @param target { port, headers, toolName }
 * @returns { calls, latencies } of `inFlight` connections over `ms` milliseconds; every answer is checked
 */
export async function runLoad(target, inFlight, ms) {
  const until = performance.now() + ms
  const latencies = []
  const connections = await Promise.all(Array.from({ length: inFlight }, () => openConnection(target.port)))
  const started = performance.now()
  await Promise.all(connections.map((connection, index) => loop(connection, target, index, until, latencies)))
  const elapsed = performance.now() - started
  for (const connection of connections) connection.end()
  return { rate: (latencies.length / elapsed) * 1000, latencies: latencies.sort((a, b) => a - b) }
}

let counter = 0

async function loop(connection, target, index, until, latencies) {
  while (performance.now() < until) {
    const id = ++counter
    const text = `${index}-${id}-${'x'.repeat(60)}`
    const start = performance.now()
    const answer = await connection.call(requestText(target, id, text))
    latencies.push(performance.now() - start)
    if (!answer.includes(text) || !answer.includes(`"id":${id}`)) {
      throw new Error(`wrong answer from port ${target.port}: ${answer.slice(0, 300)}`)
    }
  }
}

function requestText({ port, headers = {}, toolName = 'echo' }, id, text) {
  const params = `{"name":"${toolName}","arguments":{"text":"${text}"}}`
  const body = `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`
  const extra = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')
  return `POST /mcp HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n${extra}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

export function openConnection(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let buffer = ''
    let waiting = null
    const fail = error => {
      waiting?.reject(error ?? new Error('the connection was closed'))
      waiting = null
    }
    socket.setEncoding('latin1')
    socket.on('data', chunk => {
      buffer += chunk
      const head = buffer.indexOf('\r\n\r\n')
      if (head < 0) return
      const length = /content-length: (\d+)/i.exec(buffer.slice(0, head))
      if (!length) return fail(new Error(`no content-length: ${buffer.slice(0, head)}`))
      const end = head + 4 + Number(length[1])
      if (buffer.length < end) return
      const answer = {
        status: Number(buffer.slice(9, 12)),
        head: buffer.slice(0, head),
        body: buffer.slice(head + 4, end),
      }
      buffer = buffer.slice(end)
      const { resolve } = waiting
      waiting = null
      resolve(answer)
    })
    socket.on('error', error => {
      fail(error)
      reject(error)
    })
    socket.on('close', () => fail())
    const exchange = text =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        socket.write(text)
      })
    socket.on('connect', () =>
      resolve({ exchange, call: async text => (await exchange(text)).body, end: () => socket.destroy() }),
    )
  })
}
