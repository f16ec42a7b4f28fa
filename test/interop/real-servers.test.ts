import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ROOT } from '../kit/build.js'
import {
  type ClientV1,
  type ClientV2,
  connectV1Http,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  gatewayOnStdio,
} from '../kit/clients.js'
import { startGateway, type TestGateway } from '../kit/gateway.js'
import { closedPort } from '../kit/ports.js'
import { markedEnvironment } from '../kit/processes.js'
import { freshFolder } from '../kit/run-folder.js'

/** The demo's servers: four real ones, one that refuses and one that exits at once. */
const module = (path: string) => join(ROOT, 'node_modules/@modelcontextprotocol', path)
const EVERYTHING = module('server-everything/dist/index.js')
const LIVE = ['everything', 'remote', 'files', 'memory']

let gateway: TestGateway
let remote: ChildProcess
let remoteUrl = ''
let folder = ''

beforeAll(async () => {
  folder = freshFolder('real-servers')
  mkdirSync(join(folder, 'files'))
  writeFileSync(join(folder, 'files', 'hello.txt'), 'Hello from a file.')
  const port = await closedPort()
  remoteUrl = `http://127.0.0.1:${port}/mcp`
  remote = spawn(process.execPath, [EVERYTHING, 'streamableHttp'], {
    env: { ...process.env, ...markedEnvironment(), PORT: String(port) },
    stdio: 'ignore',
  })
  gateway = await startGateway({ mcpServers: servers(await closedPort()) })
  await gateway.waitForState('remote', 'ready', 20_000)
  await gateway.settled(20_000)
})

afterAll(async () => {
  await gateway?.stop()
  remote?.kill()
})

function servers(closed: number) {
  const node = (...args: string[]) => ({ command: process.execPath, args, env: markedEnvironment() })
  return {
    everything: node(EVERYTHING, 'stdio'),
    remote: { type: 'http', url: remoteUrl },
    files: node(module('server-filesystem/dist/index.js'), join(folder, 'files')),
    memory: {
      ...node(module('server-memory/dist/index.js')),
      env: { ...markedEnvironment(), MEMORY_FILE_PATH: join(folder, 'memory.jsonl') },
    },
    closed: { type: 'http', url: `http://127.0.0.1:${closed}/mcp` },
    crashing: node('-e', 'console.error("no database"); process.exit(1)'),
  }
}

interface Listed {
  readonly name: string
  readonly description?: string | undefined
  readonly inputSchema: unknown
}

/** What each server says when it is asked directly, under the names that the gateway gives. */
async function directTools(): Promise<Listed[]> {
  const lines = servers(0)
  const all: Listed[] = []
  for (const name of LIVE) {
    const client =
      name === 'remote'
        ? await connectV1Http(remoteUrl)
        : await connectV1Stdio(lines[name as 'files'] as { command: string; args: string[] })
    const { tools } = await client.listTools()
    all.push(...tools.map(tool => ({ ...pick(tool), name: `${name}__${tool.name}` })))
    await client.close()
  }
  return all
}

function pick({ name, description, inputSchema }: Listed): Listed {
  return { name, description, inputSchema }
}

const FACES: [name: string, connect: () => Promise<ClientV1 | ClientV2>][] = [
  ['the v1 client over HTTP', () => connectV1Http(gateway.url)],
  ['the v2 client over HTTP, legacy era', () => connectV2Http(gateway.url, 'legacy')],
  ['the v2 client over HTTP, modern era', () => connectV2Http(gateway.url, 'modern')],
  [
    'a stdio client of `holdfast stdio`',
    async () => connectV1Stdio(await gatewayOnStdio({ config: gateway.configFile })),
  ],
  ['a stdio client of a bridge', async () => connectV1Stdio(await gatewayOnStdio({ url: gateway.url }))],
  [
    'a modern stdio client of a bridge',
    async () => connectV2Stdio(await gatewayOnStdio({ url: gateway.url }), 'modern'),
  ],
]

describe.each(FACES)('%s, in front of real servers', (_name, connect) => {
  let client: ClientV1

  beforeAll(async () => {
    // Both clients have the same methods where it matters here.
    client = (await connect()) as ClientV1
    await allListed(client)
  })
  afterAll(() => client?.close())

  test('sees every tool of every live server, as that server describes it', async () => {
    const { tools, _meta } = await client.listTools()
    const expected = await directTools()
    expect(tools.map(pick)).toEqual(expected)
    expect(expected.length).toBeGreaterThan(40)
    const missing = _meta?.['dev.holdfast/unavailable'] as { upstream: string; reason: string }[]
    expect(missing.map(entry => entry.upstream)).toEqual(['closed', 'crashing'])
    expect(missing[0]?.reason).toContain('refused')
    expect(missing[1]?.reason).toContain('no database')
  })

  test('calls a tool of each', async () => {
    const text = async (name: string, args: Record<string, unknown>) => {
      const result = (await client.callTool({ name, arguments: args })) as { content: { text: string }[] }
      return result.content[0]?.text
    }
    expect(await text('everything__echo', { message: 'a' })).toBe('Echo: a')
    expect(await text('remote__get-sum', { a: 2, b: 3 })).toContain('5')
    expect(await text('files__read_text_file', { path: join(folder, 'files', 'hello.txt') })).toBe(
      'Hello from a file.',
    )
    expect(await text('memory__read_graph', {})).toContain('entities')
  })

  test('is told by the call why a server is down', async () => {
    const result = await client.callTool({ name: 'closed__anything', arguments: {} })
    expect(result.isError).toBe(true)
    expect(JSON.stringify(result.content)).toMatch(/closed is unavailable: .*connection refused/)
  })

  test('reads resources, listed ones and those of a template', async () => {
    const { resources } = await client.listResources()
    const listed = resources.find(resource => resource.uri.startsWith('demo://remote~/'))
    const read = await client.readResource({ uri: listed?.uri ?? '' })
    expect(read.contents[0]?.uri).toBe(listed?.uri)
    const { resourceTemplates } = await client.listResourceTemplates()
    const template = resourceTemplates.find(each =>
      each.uriTemplate.includes('everything~/resource/dynamic/text/'),
    )
    const uri = template?.uriTemplate.replace('{resourceId}', '1') ?? ''
    expect((await client.readResource({ uri })).contents[0]?.uri).toBe(uri)
  })

  test('follows a resource link that a tool returned', async () => {
    const result = (await client.callTool({
      name: 'everything__get-resource-links',
      arguments: { count: 1 },
    })) as {
      content: { type: string; uri?: string }[]
    }
    const uri = result.content.find(item => item.type === 'resource_link')?.uri ?? ''
    expect(uri).toMatch(/^demo:\/\/everything~\//)
    expect((await client.readResource({ uri })).contents[0]?.uri).toBe(uri)
  })

  test('gets a prompt and completes its argument', async () => {
    const prompt = await client.getPrompt({ name: 'remote__args-prompt', arguments: { city: 'Oslo' } })
    expect(JSON.stringify(prompt.messages)).toContain('Oslo')
    const { completion } = await client.complete({
      ref: { type: 'ref/prompt', name: 'everything__completable-prompt' },
      argument: { name: 'department', value: 'E' },
    })
    expect(completion.values).toContain('Engineering')
  })

  test.each(['everything', 'remote'])('sees the progress of a long call to %s', async server => {
    const seen: number[] = []
    const request = {
      name: `${server}__trigger-long-running-operation`,
      arguments: { duration: 0.4, steps: 4 },
    }
    const options = { onprogress: ({ progress }: { progress: number }) => seen.push(progress) }
    const result = await callWith(client, request, options)
    expect(JSON.stringify(result)).toContain('completed')
    expect(seen.length).toBeGreaterThanOrEqual(3)
    expect([...seen].sort((a, b) => a - b)).toEqual(seen)
  })

  test('cancels a call, and the server is free for the next one', async () => {
    const abort = new AbortController()
    const request = {
      name: 'everything__trigger-long-running-operation',
      arguments: { duration: 60, steps: 600 },
    }
    const running = callWith(client, request, { signal: abort.signal, onprogress: () => abort.abort() })
    await expect(running).rejects.toThrow()
    const { content } = (await client.callTool({
      name: 'everything__echo',
      arguments: { message: 'next' },
    })) as {
      content: { text: string }[]
    }
    expect(content[0]?.text).toBe('Echo: next')
    await gateway.waitFor(status => status.upstreams.every(upstream => upstream.inFlight === 0))
  })
})

/** v1 takes (params, schema, options), v2 takes (params, options). */
function callWith(
  client: ClientV1,
  request: { name: string; arguments: object },
  options: object,
): Promise<unknown> {
  const call = client.callTool.bind(client) as (...args: unknown[]) => Promise<unknown>
  return 'getProtocolEra' in client ? call(request, options) : call(request, undefined, options)
}

/** A gateway of its own (stdio) may still be starting its servers. */
async function allListed(client: ClientV1): Promise<void> {
  for (let tries = 0; tries < 300; tries += 1) {
    const { _meta } = await client.listTools()
    const missing = (_meta?.['dev.holdfast/unavailable'] ?? []) as { upstream: string }[]
    if (missing.every(({ upstream }) => !LIVE.includes(upstream))) return
    await delay(50)
  }
  throw new Error('the live servers were never all listed')
}
