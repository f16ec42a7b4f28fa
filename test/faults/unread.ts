import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { MCP_HEADERS } from '../kit/raw-http.js'

/** A POST as it goes over the wire. */
export function postText(url: string, body: string, headers: Readonly<Record<string, string>>): string {
  const { pathname, host } = new URL(url)
  const all = { ...MCP_HEADERS, host, 'content-length': String(Buffer.byteLength(body)), ...headers }
  const lines = Object.entries(all).map(([key, value]) => `${key}: ${value}\r\n`)
  return `POST ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/** Sends one POST on a socket of its own and never reads the answer. */
export async function postWithoutReading(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>>,
): Promise<Socket> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port), noDelay: true })
  socket.on('error', () => undefined)
  socket.pause()
  await new Promise(resolve => socket.once('connect', resolve))
  socket.write(postText(url, body, headers))
  return socket
}

export function residentMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kb) / 1024
}
