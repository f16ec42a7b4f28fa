import { realpathSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { freshFolder } from '../kit/run-folder.js'
import type { Bench, Proof } from './proof.js'

const ECHO = { builtins: ['echo'] }

/** A program whose start is recorded with all that it got. */
function withProgram(use: (fake: Fake) => Promise<void>): Promise<void> {
  return withFakes([{ transport: 'stdio', script: { ...ECHO, recordEnv: true } }], use)
}

async function expectUp({ open }: Bench, entry: object): Promise<void> {
  const gateway = await open({ mcpServers: { a: { ...entry } } })
  await gateway.settled()
  expect(await gateway.callTool('a__echo', { n: 1 })).toMatchObject({ structuredContent: { n: 1 } })
}

const inUse = (bench: Bench) => withProgram(async fake => expectUp(bench, fake.entry))

function typed(key: 'type' | 'transport'): Proof {
  return {
    keys: [`server.${key}`],
    does: 'decides which transport is spoken',
    prove: bench =>
      withFakes([{ transport: 'sse', script: ECHO }], async fake => {
        const { type: _type, ...entry } = fake.entry
        const gateway = await bench.open({ mcpServers: { a: { ...entry, [key]: 'http' } } })
        await gateway.settled()
        expect(gateway.upstream('a').status().state).not.toBe('ready')
        await expectUp(bench, { ...entry, [key]: 'sse' })
      }),
  }
}

function addressed(key: 'url' | 'serverUrl' | 'httpUrl'): Proof {
  return {
    keys: [`server.${key}`],
    does: 'is where the server is looked for',
    prove: bench => withFakes([{ script: ECHO }], fake => expectUp(bench, { [key]: fake.url })),
  }
}

function switched(key: 'enabled' | 'disabled' | 'holdfast.enabled', entry: object): Proof {
  return {
    keys: [`server.${key}`],
    does: 'keeps a server from being started and listed',
    prove: ({ open }) =>
      withProgram(async fake => {
        const gateway = await open({ mcpServers: { a: { ...fake.entry, ...entry } } })
        await gateway.settled()
        expect((await gateway.listTools()).tools).toEqual([])
        expect([gateway.upstream('a').status().state, fake.records.spawns]).toEqual(['disabled', 0])
      }),
  }
}

/** A file of variables, of which the last line is the one that a test looks for. */
export function envFileWith(line: string): string {
  const path = join(freshFolder('env-file'), 'some.env')
  writeFileSync(path, `# variables\n\n${line}\n`)
  return path
}

export const ENTRY_PROOFS: readonly Proof[] = [
  typed('type'),
  typed('transport'),
  { keys: ['server.command'], does: 'is the program that is started', prove: inUse },
  { keys: ['server.args'], does: 'are the arguments of the program', prove: inUse },
  {
    keys: ['server.env'],
    does: 'are variables of the program',
    prove: bench =>
      withProgram(async fake => {
        await expectUp(bench, { ...fake.entry, env: { ...fake.entry.env, GIVEN: 'g' } })
        expect(fake.records.ofKind('start')[0]?.env).toMatchObject({ GIVEN: 'g' })
      }),
  },
  {
    keys: ['server.envFile'],
    does: 'holds variables of the program',
    prove: bench =>
      withProgram(async fake => {
        await expectUp(bench, { ...fake.entry, envFile: envFileWith('FILED=f') })
        expect(fake.records.ofKind('start')[0]?.env).toMatchObject({ FILED: 'f' })
      }),
  },
  {
    keys: ['server.cwd'],
    does: 'is where the program runs',
    prove: bench =>
      withProgram(async fake => {
        const folder = realpathSync(freshFolder('cwd'))
        await expectUp(bench, { ...fake.entry, cwd: folder })
        expect(fake.records.ofKind('start')[0]?.cwd).toBe(folder)
      }),
  },
  addressed('url'),
  addressed('serverUrl'),
  addressed('httpUrl'),
  {
    keys: ['server.headers'],
    does: 'go with every request',
    prove: bench =>
      withFakes([{ script: ECHO }], async fake => {
        await expectUp(bench, { ...fake.entry, headers: { 'x-key': 'k' } })
        expect(fake.records.of('tools/call')[0]?.headers).toMatchObject({ 'x-key': 'k' })
      }),
  },
  switched('enabled', { enabled: false }),
  switched('disabled', { disabled: true }),
  switched('holdfast.enabled', { holdfast: { enabled: false } }),
]
