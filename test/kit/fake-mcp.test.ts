import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import {
  type ClientV1,
  type ClientV2,
  connectV1Http,
  connectV1Sse,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  type Mode,
} from './clients.js'
import { type Fake, type FakeOptions, type Script, startFake } from './fake-mcp.js'
import { isAlive, waitForExit } from './processes.js'
import { rawPost } from './raw-http.js'
import { openPipe } from './raw-stdio.js'

const fakes: Fake[] = []
const clients: { close(): Promise<void> }[] = []

async function fake(options: FakeOptions): Promise<Fake> {
  const one = await startFake(options)
  fakes.push(one)
  return one
}

function kept<T extends { close(): Promise<void> }>(client: T): T {
  clients.push(client)
  return client
}

afterEach(async () => {
  await Promise.all(clients.splice(0).map(client => client.close().catch(() => {})))
  await Promise.all(fakes.splice(0).map(one => one.stop()))
})

function lineOf({ entry }: Fake): { command: string; args: readonly string[] } {
  return { command: entry.command ?? '', args: entry.args ?? [] }
}

async function connect(
  one: Fake,
  version: 'v1' | 'v2',
  mode: Mode,
  capabilities = {},
): Promise<ClientV1 | ClientV2> {
  if (one.transport === 'sse') return kept(await connectV1Sse(one.url ?? '', { capabilities }))
  if (one.transport === 'stdio') {
    const line = lineOf(one)
    return kept(
      version === 'v1'
        ? await connectV1Stdio(line, { capabilities })
        : await connectV2Stdio(line, mode, { capabilities }),
    )
  }
  const url = one.url ?? ''
  return kept(
    version === 'v1'
      ? await connectV1Http(url, { capabilities })
      : await connectV2Http(url, mode, { capabilities }),
  )
}

interface CallOptions {
  readonly signal?: AbortSignal
  readonly onprogress?: (step: { progress: number }) => void
}

/** The two clients take their options in different places. */
function callWith(
  client: ClientV1 | ClientV2,
  version: 'v1' | 'v2',
  params: { name: string; arguments: Record<string, unknown> },
  options: CallOptions,
): Promise<unknown> {
  return version === 'v1'
    ? (client as ClientV1).callTool(params, undefined, options)
    : (client as ClientV2).callTool(params, options)
}

const OFFER: Script = {
  name: 'offer',
  tools: [{ name: 'hello', result: '{"content":[{"type":"text","text":"hi"}]}' }],
  resources: [{ uri: 'file:///a.txt', text: 'A' }],
  resourceTemplates: [{ uriTemplate: 'note://{id}' }],
  prompts: [{ name: 'greet', text: 'hello there' }],
  pageSize: 3,
}

const PEERS: readonly [FakeOptions['transport'], Script['eras'], 'v1' | 'v2', Mode][] = [
  ['http', 'legacy', 'v1', 'legacy'],
  ['http', 'legacy', 'v2', 'legacy'],
  ['http', 'modern', 'v2', 'modern'],
  ['http', 'both', 'v2', 'auto'],
  ['http', 'legacy', 'v2', 'auto'],
  ['stdio', 'legacy', 'v1', 'legacy'],
  ['stdio', 'legacy', 'v2', 'legacy'],
  ['stdio', 'modern', 'v2', 'modern'],
  ['stdio', 'both', 'v2', 'auto'],
  ['stdio', 'legacy', 'v2', 'auto'],
  ['sse', 'legacy', 'v1', 'legacy'],
]

describe.each(PEERS)(
  'a fake over %s of era %s with the official %s client in mode %s',
  (transport, eras, version, mode) => {
    test('offers its lists, tools, resources and prompts', async () => {
      const one = await fake({ transport, script: { ...OFFER, eras } })
      const client = (await connect(one, version, mode)) as ClientV1

      const names: string[] = []
      let cursor: string | undefined
      do {
        const page = await client.listTools(cursor === undefined ? undefined : { cursor })
        names.push(...page.tools.map(tool => tool.name))
        cursor = page.nextCursor
      } while (cursor !== undefined)
      expect([...new Set(names)]).toContain('hello')
      expect(names).toContain('whoami')
      expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual(['file:///a.txt'])
      expect((await client.listResourceTemplates()).resourceTemplates).toHaveLength(1)
      expect((await client.listPrompts()).prompts.map(({ name }) => name)).toEqual(['greet'])

      expect(await client.callTool({ name: 'hello' })).toMatchObject({
        content: [{ type: 'text', text: 'hi' }],
      })
      expect(await client.callTool({ name: 'fail' })).toMatchObject({ isError: true })
      expect(await client.callTool({ name: 'echo', arguments: { a: [1, 'x'] } })).toMatchObject({
        structuredContent: { a: [1, 'x'] },
      })
      expect(await client.readResource({ uri: 'file:///a.txt' })).toMatchObject({ contents: [{ text: 'A' }] })
      expect(await client.readResource({ uri: 'note://7' })).toMatchObject({
        contents: [{ text: 'text of note://7' }],
      })
      expect(await client.getPrompt({ name: 'greet' })).toMatchObject({
        messages: [{ content: { text: 'hello there' } }],
      })
      await expect(client.callTool({ name: 'nobody' })).rejects.toThrow('Unknown tool')
    })

    test('sends progress before the answer and sees a cancellation', async () => {
      const one = await fake({ transport, script: { eras } })
      const client = await connect(one, version, mode)

      const seen: number[] = []
      // The v1 client forgets a progress listener when the answer comes in the same chunk.
      const params = { name: 'progress', arguments: { n: 3, after: 200 } }
      await callWith(client, version, params, { onprogress: ({ progress }) => void seen.push(progress) })
      expect(seen).toEqual([1, 2, 3])

      const stop = new AbortController()
      const sleep = { name: 'sleep', arguments: { ms: 60_000 } }
      const call = callWith(client, version, sleep, { signal: stop.signal })
      const failed = expect(call).rejects.toThrow()
      await one.records.waitFor(records => records.runs('sleep') === 1)
      stop.abort()
      await failed
      const cancelled = await one.records.waitFor(records => records.cancelled[0])
      expect(cancelled?.tool).toBe('sleep')
    })
  },
)

describe('a question in mid-call', () => {
  test.each([
    ['http', 'legacy', 'v1', 'legacy'],
    ['stdio', 'legacy', 'v1', 'legacy'],
    ['sse', 'legacy', 'v1', 'legacy'],
  ] as const)('over %s in the %s era is a server request', async (transport, eras, version, mode) => {
    const one = await fake({ transport, script: { eras } })
    const client = (await connect(one, version, mode, { roots: {} })) as ClientV1
    const { ListRootsRequestSchema } = await import('@modelcontextprotocol/sdk/types.js')
    client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri: 'file:///root' }] }))
    const result = await client.callTool({ name: 'ask', arguments: { method: 'roots/list' } })
    expect(result.structuredContent).toEqual({ answers: [{ roots: [{ uri: 'file:///root' }] }] })
  })

  test.each(['http', 'stdio'] as const)(
    'over %s in the modern era is an input-required round',
    async transport => {
      const one = await fake({ transport, script: { eras: 'modern' } })
      const client = (await connect(one, 'v2', 'modern', { roots: {} })) as ClientV2
      client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///root' }] }))
      const result = await client.callTool({ name: 'ask', arguments: { method: 'roots/list' } })
      expect(result.structuredContent).toEqual({ answers: [{ roots: [{ uri: 'file:///root' }] }] })
      expect(one.records.callsOf('ask')).toHaveLength(2)
      expect(one.records.runs('ask')).toBe(1)
    },
  )

  test('is refused when the client did not declare the capability', async () => {
    const legacy = await fake({ script: {} })
    const client = (await connect(legacy, 'v1', 'legacy')) as ClientV1
    expect(await client.callTool({ name: 'ask' })).toMatchObject({ isError: true })
    const modern = await fake({ script: { eras: 'modern' } })
    await expect(
      ((await connect(modern, 'v2', 'modern')) as ClientV2).callTool({ name: 'ask' }),
    ).rejects.toThrow()
  })
})

describe('list changes', () => {
  test.each(['http', 'stdio', 'sse'] as const)('reach a legacy client over %s', async transport => {
    const one = await fake({ transport, script: { tools: [] } })
    const client = (await connect(one, 'v1', 'legacy')) as ClientV1
    const { ToolListChangedNotificationSchema } = await import('@modelcontextprotocol/sdk/types.js')
    const told = new Promise<void>(resolve =>
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => resolve()),
    )
    if (transport === 'http') await one.records.waitFor(records => records.ofKind('stream').length > 0)
    await one.patch({ tools: [{ name: 'late' }] })
    await one.announce('tools')
    await told
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain('late')
  })

  test.each(['http', 'stdio'] as const)('reach a modern client that listens over %s', async transport => {
    const one = await fake({ transport, script: { eras: 'modern' } })
    const client = (await connect(one, 'v2', 'modern')) as ClientV2
    const told = new Promise<void>(resolve =>
      client.setNotificationHandler('notifications/tools/list_changed', () => resolve()),
    )
    const subscription = await client.listen({ toolsListChanged: true })
    await one.announce('tools')
    await told
    await one.endListens()
    expect(await subscription.closed).toBe('graceful')
  })
})

describe('exact bytes', () => {
  const call = (params: string): string => `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":${params}}`

  test('come back from echo and from raw results', async () => {
    const raw = '{"content":[],"structuredContent":{"huge":1E400,"exact":12345678901234567890}}'
    const one = await fake({ script: { sessions: false, tools: [{ name: 'raw', result: raw }] } })
    await kept(await connectV1Http(one.url ?? ''))
    const url = one.url ?? ''
    expect((await rawPost(url, call('{"name":"raw"}'))).text).toBe(`{"jsonrpc":"2.0","id":7,"result":${raw}}`)
    const args = '{"b":1E400 ,"a":12345678901234567890, "s":"\\u00e9 {\\"}"}'
    expect((await rawPost(url, call(`{"name":"echo","arguments":${args}}`))).text).toContain(
      `"structuredContent":${args}}`,
    )
  })
})

describe('a fake over HTTP', () => {
  test('refuses a session that it does not know, and one that it lost', async () => {
    const one = await fake({
      script: { faults: [{ on: 'tools/call', calls: 2, do: { kind: 'session-lost' } }] },
    })
    const url = one.url ?? ''
    const ping = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    expect((await rawPost(url, ping)).status).toBe(400)
    expect((await rawPost(url, ping, { 'mcp-session-id': 'nobody' })).status).toBe(404)

    const client = (await connect(one, 'v1', 'legacy')) as ClientV1
    await client.callTool({ name: 'count' })
    await expect(client.callTool({ name: 'count' })).rejects.toThrow(/Session not found/)
    expect(one.records.runs('count')).toBe(1)
  })

  test('comes back on the same port after a crash', async () => {
    const one = await fake({ script: {} })
    const { url } = one
    await one.crash()
    await expect(rawPost(url ?? '', '{}')).rejects.toThrow('ECONNREFUSED')
    await one.restart()
    expect(one.url).toBe(url)
    await (await connectV1Http(url ?? '')).close()
  })

  test('checks the headers of a modern request against its body', async () => {
    const schema = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } }
    const one = await fake({
      script: {
        eras: 'modern',
        tools: [{ name: 'where', behaves: 'echo', descriptor: { inputSchema: schema } }],
      },
    })
    const meta =
      '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'
    const body = `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"where","arguments":{"region":"eu"},${meta}}}`
    const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'where' }
    const refused = await rawPost(one.url ?? '', body, headers)
    expect(refused.status).toBe(400)
    expect(JSON.parse(refused.text)).toMatchObject({ id: 'a', error: { code: -32020 } })
    const served = await rawPost(one.url ?? '', body, { ...headers, 'mcp-param-region': '=?base64?ZXU=?=' })
    expect(JSON.parse(served.text)).toMatchObject({ id: 'a', result: { resultType: 'complete' } })
  })

  test.each([
    [{ kind: 'http', status: 503, headers: { 'retry-after': '3' }, body: 'busy' }, 503],
    [{ kind: 'html' }, 200],
    [{ kind: 'empty' }, 200],
    [{ kind: 'accepted' }, 202],
    [{ kind: 'stream-end' }, 200],
    [{ kind: 'wrong-id' }, 200],
    [{ kind: 'duplicate' }, 200],
    [{ kind: 'both' }, 200],
    [{ kind: 'unknown-result-type' }, 200],
    [{ kind: 'garbage', text: 'no json' }, 200],
    [{ kind: 'error', code: 4711 }, 200],
    [{ kind: 'result', raw: '{"content":[]}' }, 200],
    [{ kind: 'raw', text: '[$ID]' }, 200],
  ] as const)('plays %o', async (action, status) => {
    const one = await fake({ script: { sessions: false, faults: [{ on: 'tools/call', do: action }] } })
    kept(await connectV1Http(one.url ?? ''))
    const answer = await rawPost(
      one.url ?? '',
      '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"count"}}',
    )
    expect(answer.status).toBe(status)
  })

  test.each([
    { kind: 'close' },
    { kind: 'reset' },
    { kind: 'cut' },
    { kind: 'cut', stream: true },
    { kind: 'crash' },
  ] as const)('drops the connection with %o after the work was done', async action => {
    const one = await fake({ script: { sessions: false, faults: [{ on: 'tools/call', do: action }] } })
    kept(await connectV1Http(one.url ?? ''))
    const body = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"count"}}'
    await expect(rawPost(one.url ?? '', body)).rejects.toThrow(/ECONNRESET|aborted|socket hang up/)
    expect(one.records.runs('count')).toBe(1)
  })
})

describe('a fake over stdio', () => {
  test('dies in its first two starts and works in the third', async () => {
    const one = await fake({
      transport: 'stdio',
      script: {
        faults: [{ on: 'start', spawns: { to: 2 }, do: { kind: 'crash', code: 3, stderr: 'boom' } }],
      },
    })
    for (const _ of [1, 2]) {
      const pipe = openPipe(lineOf(one))
      expect(await pipe.next()).toBeNull()
      expect(pipe.stderr).toBe('boom\n')
      expect(await pipe.close()).toBe(3)
    }
    await connect(one, 'v1', 'legacy')
    expect(one.records.spawns).toBe(3)
  })

  test('prints garbage, half a line, a wrong id, and dies with a signal', async () => {
    const one = await fake({
      transport: 'stdio',
      script: {
        banner: ['Welcome!'],
        faults: [
          { on: 'ping', calls: 1, do: { kind: 'garbage', text: 'DEBUG ping' } },
          { on: 'ping', calls: 2, do: { kind: 'wrong-id', id: '"2"' } },
          { on: 'ping', calls: 3, do: { kind: 'cut', exit: false, bytes: 5 } },
          { on: 'ping', calls: 4, do: { kind: 'crash', signal: 'SIGKILL' } },
        ],
      },
    })
    const pipe = openPipe(lineOf(one))
    expect(await pipe.next()).toBe('Welcome!')
    const ping = (id: number): void => pipe.write(`{"jsonrpc":"2.0","id":${id},"method":"ping"}\n`)
    ping(1)
    expect(await pipe.next()).toBe('DEBUG ping')
    expect(await pipe.next()).toBe('{"jsonrpc":"2.0","id":1,"result":{}}')
    ping(2)
    expect(await pipe.next()).toBe('{"jsonrpc":"2.0","id":"2","result":{}}')
    ping(3)
    ping(4)
    expect(await pipe.next()).toBeNull()
    expect(await pipe.close()).toBeNull()
  })

  test('obeys the test while it runs: a new script, a gate, a kill', async () => {
    const one = await fake({ transport: 'stdio', script: {} })
    const client = (await connect(one, 'v1', 'legacy')) as ClientV1
    const stepped = client.callTool({ name: 'progress', arguments: { n: 2, gate: 'go' } })
    await one.release('go', 2)
    expect(await stepped).toMatchObject({ content: [{ text: '2 steps' }] })
    await one.patch({ tools: [{ name: 'fresh' }] })
    expect(await client.callTool({ name: 'fresh' })).toMatchObject({ content: [{ text: 'fresh of fake' }] })
    const [pid] = one.records.pids
    await one.crash()
    await waitForExit(pid ?? 0)
  })

  test('writes with CRLF and a byte order mark, in pieces, and as much as it is told to', async () => {
    const one = await fake({
      transport: 'stdio',
      script: {
        stdout: { crlf: true, bom: true, slice: 1 },
        tools: [{ name: 'large' }, { name: 'loud', steps: [{ stderrBytes: 200_000 }] }],
        faults: [{ on: 'tools/call', tool: 'large', do: { kind: 'flood', bytes: 300_000 } }],
      },
    })
    const pipe = openPipe(lineOf(one))
    pipe.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    expect(await pipe.next()).toBe('\ufeff{"jsonrpc":"2.0","id":1,"result":{}}\r')
    const call = (name: string) =>
      pipe.write(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"${name}"}}\n`)
    call('large')
    const large = (await pipe.next()) ?? ''
    expect(large.startsWith('{"jsonrpc":"2.0","id":2,"result":')).toBe(true)
    expect(large.length).toBeGreaterThan(300_000)
    call('loud')
    await pipe.next()
    await one.records.waitFor(() => pipe.stderr.length >= 200_000)
    await pipe.close()
  })

  test('speaks unasked, closes its stdin, goes by itself, and goes on with what was cancelled', async () => {
    const script = { ignoreCancel: true, tools: [{ name: 'hold', steps: [{ wait: 'go' }] }] }
    const one = await fake({ transport: 'stdio', script })
    const pipe = openPipe(lineOf(one))
    pipe.write('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"hold"}}\n')
    await one.records.waitFor(records => records.runs('hold') === 1)
    pipe.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}\n')
    await one.records.waitFor(records => records.cancelled[0])
    await one.release('go')
    expect(await pipe.next()).toContain('"id":1')
    await one.say('{"hello":"world"}')
    expect(await pipe.next()).toBe('{"hello":"world"}')
    await one.closeInput()
    expect(existsSync(`/proc/${pipe.pid}`)).toBe(true)
    expect(existsSync(`/proc/${pipe.pid}/fd/0`)).toBe(false)
    await one.quit({ code: 3 })
    expect(await pipe.close()).toBe(3)
  })

  test('can ignore SIGTERM and the end of stdin, and leave a grandchild on the pipe', async () => {
    const one = await fake({
      transport: 'stdio',
      script: { ignoreSigterm: true, ignoreStdinEnd: true, grandchild: true },
    })
    const pipe = openPipe(lineOf(one))
    const found = await one.records.waitFor(records => records.ofKind('grandchild')[0])
    const grandchild = found?.grandchild ?? 0
    pipe.write('{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    await pipe.next()
    pipe.signal('SIGTERM')
    await one.records.waitFor(records => records.ofKind('sigterm').length > 0)
    expect(isAlive(pipe.pid)).toBe(true)
    const closing = pipe.close()
    await one.records.waitFor(records => records.ofKind('stdin-end').length > 0)
    pipe.signal('SIGKILL')
    await waitForExit(pipe.pid)
    expect(isAlive(grandchild)).toBe(true)
    process.kill(grandchild, 'SIGKILL')
    await closing
  })

  test('answers nothing to a probe when told so, and exits on it when told so', async () => {
    const silent = await fake({
      transport: 'stdio',
      script: { faults: [{ on: 'server/discover', do: { kind: 'hang' } }] },
    })
    const discover =
      '{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}\n'
    const quiet = openPipe(lineOf(silent))
    quiet.write(discover)
    await silent.records.waitFor(records => records.count('server/discover') === 1)
    quiet.write('{"jsonrpc":"2.0","id":2,"method":"ping"}\n')
    expect(await quiet.next()).toContain('"id":2')
    await quiet.close()

    const touchy = await fake({
      transport: 'stdio',
      script: { faults: [{ on: 'server/discover', do: { kind: 'crash', code: 9 } }] },
    })
    const dying = openPipe(lineOf(touchy))
    dying.write(discover)
    expect(await dying.next()).toBeNull()
    expect(await dying.close()).toBe(9)
  })
})

test('a looping cursor never ends, and an empty cursor is a cursor', async () => {
  const one = await fake({
    script: {
      builtins: false,
      pageSize: 1,
      emptyCursor: true,
      loop: ['tools'],
      tools: [{ name: 'a' }, { name: 'b' }],
    },
  })
  const client = (await connect(one, 'v1', 'legacy')) as ClientV1
  const first = await client.listTools()
  expect(first.nextCursor).toBe('')
  const second = await client.listTools({ cursor: '' })
  expect(second.tools.map(({ name }) => name)).toEqual(['b'])
  expect(second.nextCursor).toBe('')
})

test('a fake that hangs on a request keeps its connection open', async () => {
  const one = await fake({
    script: { sessions: false, faults: [{ on: 'tools/call', do: { kind: 'hang' } }] },
  })
  kept(await connectV1Http(one.url ?? ''))
  const body = '{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"count"}}'
  const outcome = await Promise.race([rawPost(one.url ?? '', body).catch(() => 'broken'), delay(200, 'open')])
  expect(outcome).toBe('open')
})
