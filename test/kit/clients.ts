import { setTimeout as delay } from 'node:timers/promises'
import {
  type ClientOptions,
  Client as ClientV2,
  StreamableHTTPClientTransport as HttpV2,
} from '@modelcontextprotocol/client'
import { StdioClientTransport as StdioV2 } from '@modelcontextprotocol/client/stdio'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { SSEClientTransport as SseV1 } from '@modelcontextprotocol/sdk/client/sse.js'
import { StdioClientTransport as StdioV1 } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { CLI, ensureBuilt } from './build.js'
import { gatewayEnvironment } from './gateway.js'

export type { ClientV1, ClientV2 }

export const MODERN = '2026-07-28'

/** How the v2 client finds its era: plain `initialize`, pinned to the modern version, or by probing. */
export type Mode = 'legacy' | 'modern' | 'auto'

interface Capabilities {
  readonly capabilities?: Readonly<Record<string, unknown>>
}

const INFO = { name: 'test-client', version: '1.0.0' }

/** A command to be run as a stdio server. */
export interface CommandLine {
  readonly command: string
  readonly args: readonly string[]
}

// ---- the official v1 client ------------------------------------------------------------------------------

export async function connectV1Http(url: string, options: Capabilities = {}): Promise<ClientV1> {
  return patiently(async () => {
    const client = newV1(options)
    await client.connect(new HttpV1(new URL(url)) as Parameters<ClientV1['connect']>[0])
    return client
  })
}

/** A gateway on a busy machine may refuse new sessions for a moment. */
async function patiently<T>(connect: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await connect()
    } catch (thrown) {
      if (tries === 20 || !String(thrown).includes('takes no new sessions for the moment')) throw thrown
      await delay(500)
    }
  }
}

export async function connectV1Sse(url: string, options: Capabilities = {}): Promise<ClientV1> {
  const client = newV1(options)
  await client.connect(new SseV1(new URL(url)) as Parameters<ClientV1['connect']>[0])
  return client
}

export async function connectV1Stdio(line: CommandLine, options: Capabilities = {}): Promise<ClientV1> {
  const client = newV1(options)
  await client.connect(
    new StdioV1({ ...line, args: [...line.args], env: stdioEnvironment(), stderr: 'ignore' }),
  )
  return client
}

function newV1({ capabilities = {} }: Capabilities): ClientV1 {
  return new ClientV1(INFO, { capabilities })
}

// ---- the official v2 client ------------------------------------------------------------------------------

export async function connectV2Http(url: string, mode: Mode, options: ClientOptions = {}): Promise<ClientV2> {
  const client = newV2(mode, options)
  await client.connect(new HttpV2(new URL(url)))
  return client
}

export async function connectV2Stdio(
  line: CommandLine,
  mode: Mode,
  options: ClientOptions = {},
): Promise<ClientV2> {
  const client = newV2(mode, options)
  await client.connect(
    new StdioV2({ ...line, args: [...line.args], env: stdioEnvironment(), stderr: 'ignore' }),
  )
  return client
}

function newV2(mode: Mode, options: ClientOptions): ClientV2 {
  const versionNegotiation = { mode: mode === 'modern' ? { pin: MODERN } : mode }
  return new ClientV2(INFO, { versionNegotiation, ...options })
}

function stdioEnvironment(): Record<string, string> {
  const variables = Object.entries(gatewayEnvironment()).filter(([, value]) => value !== undefined)
  return Object.fromEntries(variables) as Record<string, string>
}

// ---- the gateway as a stdio server -----------------------------------------------------------------------

/** The command line of `holdfast stdio` with that config, or as a bridge to that URL. */
export async function gatewayOnStdio(
  target: { readonly config: string } | { readonly url: string },
): Promise<CommandLine> {
  await ensureBuilt()
  const option = 'config' in target ? ['--config', target.config] : ['--url', target.url]
  return { command: process.execPath, args: [CLI, 'stdio', ...option] }
}
