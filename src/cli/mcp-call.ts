import type { Result } from '../library.js'
import { CommandFailure, EXIT } from './exit.js'

const ACCEPT = 'application/json, text/event-stream'

/** One tool call over the MCP face of a running gateway: a session is opened, used once, and ended, which cancels the call. */
export async function callOver(
  url: string,
  tool: string,
  args: Result,
  signal: AbortSignal,
): Promise<Result> {
  const session = await openSession(url)
  try {
    const params = { name: tool, arguments: args }
    const answer = await post(url, session, { id: 2, method: 'tools/call', params }, signal)
    const { result, error } = await readAnswer(answer, 2)
    if (error) throw new CommandFailure(EXIT.failed, error.message)
    return result ?? {}
  } finally {
    await fetch(url, { method: 'DELETE', headers: session }).catch(() => undefined)
  }
}

async function openSession(url: string): Promise<Record<string, string>> {
  const answer = await post(url, {}, { id: 1, method: 'initialize', params: HELLO })
  const { result, error } = await readAnswer(answer, 1)
  if (error || !result)
    throw new CommandFailure(EXIT.unreachable, `${url} refused the handshake: ${error?.message}`)
  const session = {
    'mcp-session-id': answer.headers.get('mcp-session-id') ?? '',
    'mcp-protocol-version': String(result['protocolVersion']),
  }
  await post(url, session, { method: 'notifications/initialized' })
  return session
}

/** No version of ours: the gateway answers with the newest that a session can have. */
const HELLO = {
  protocolVersion: 'latest',
  capabilities: {},
  clientInfo: { name: 'holdfast-cli', version: '1' },
}

function post(
  url: string,
  headers: Record<string, string>,
  message: Result,
  signal: AbortSignal | null = null,
): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    signal,
    headers: { ...headers, 'content-type': 'application/json', accept: ACCEPT },
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  })
}

interface Answer {
  readonly id?: unknown
  readonly result?: Result
  readonly error?: { readonly message: string }
}

async function readAnswer(response: Response, id: number): Promise<Answer> {
  const text = await response.text()
  const isStream = (response.headers.get('content-type') ?? '').startsWith('text/event-stream')
  const messages = isStream
    ? text.split('\n').flatMap(line => (line.startsWith('data:') ? [line.slice(5)] : []))
    : [text]
  for (const message of messages) {
    const answer = parseAnswer(message)
    if (answer?.id === id || answer?.error) return answer
  }
  throw new CommandFailure(EXIT.unreachable, `The gateway answered HTTP ${response.status} without a result.`)
}

function parseAnswer(text: string): Answer | null {
  try {
    return JSON.parse(text) as Answer
  } catch {
    return null
  }
}
