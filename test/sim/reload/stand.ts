import type { Entry } from '../../../src/core/reload/index.js'
import type { Caller, Outcome, UpstreamSpec } from '../../../src/model/index.js'
import { Runtime } from '../../../src/runtime/gateway.js'
import type { Host } from '../../../src/runtime/ports.js'
import { createConnectorFactory } from '../../../src/upstream/index.js'
import { objectAt } from '../../../src/wire/index.js'
import { Ledger } from '../ledger.js'
import { Network } from '../virtual-dialer.js'
import { createVirtualHost, type Machine } from '../virtual-host.js'
import type { World } from '../world.js'
import { identityOf, type Version, VersionProgram, VersionSite } from './versions.js'

/** A gateway on a virtual machine on which every version of every server is installed. */
export interface Stand {
  readonly world: World
  readonly ledger: Ledger
  readonly runtime: Runtime
  /** What is wanted now; a program that is exclusive must not be started beside itself. */
  wanted: readonly Entry[]
  /** What must never happen, and did. */
  readonly broken: string[]
}

export function createStand(world: World, entries: readonly Entry[]): Stand {
  const ledger = new Ledger()
  const machine: Machine = { world, ledger, programs: new Map(), network: new Network() }
  for (const name of 'abcd') {
    const url = `http://${name}.test`
    machine.network.sites.set(url, new VersionSite(`${url}/mcp`, (ms, fn) => void world.after(ms, fn)))
  }
  const host = withVersions(createVirtualHost(machine), machine, name => noteTwin(stand, name))
  const runtime = new Runtime({
    host,
    connectors: createConnectorFactory(host, { name: 'test', version: '1' }),
    upstreams: entries,
    hasIdentities: true,
    info: { name: 'test', title: 'Test', version: '1' },
    events: { stderr: () => undefined, warning: () => undefined },
  })
  const stand: Stand = { world, ledger, runtime, wanted: entries, broken: [] }
  return stand
}

/** The command of a virtual program is all that it knows of itself. */
function withVersions(host: Host, { programs }: Machine, starts: (name: string) => void): Host {
  return {
    ...host,
    spawner: {
      ...host.spawner,
      spawn: (request, events) => {
        const version = JSON.parse(request.args[0] ?? '') as Version
        const command = identityOf({ kind: 'stdio', ...request })
        starts(version.name)
        programs.set(command, () => new VersionProgram(version, command))
        return host.spawner.spawn({ ...request, command }, events)
      },
    },
  }
}

/** One that is killed in the middle of its start is gone some milliseconds later. */
const KILLED_MS = 5

function noteTwin({ wanted, ledger, broken, world }: Stand, name: string): void {
  const entry = wanted.find(one => one.name === name)
  if (!entry || 'problem' in entry || !entry.exclusive || entry.isolation !== 'shared') return
  const others = [...ledger.processes].filter(([, command]) => runs(command, name)).map(([pid]) => pid)
  world.after(KILLED_MS, () => {
    if (others.some(pid => ledger.processes.has(pid)))
      broken.push(`${name} is exclusive, and was started beside itself`)
  })
}

/** Whether a process, by its command, is one of that server. */
export function runs(command: string, name: string): boolean {
  return command.includes(JSON.stringify(`"name":"${name}"`).slice(1, -1))
}

// ---- what clients do ----------------------------------------------------------------------------------------

const ALL = { kind: 'all' } as const
const SESSION = {}

/** One who is not told apart, one who is, and one with a session. */
export const CALLERS: readonly Caller[] = [
  { principal: 'local' },
  { principal: 'ann' },
  { principal: 'bob', session: SESSION },
]

export async function within<T>({ world }: Stand, promise: Promise<T>, ms = 60_000): Promise<T> {
  if (!(await world.settle(promise, world.now + ms))) throw new Error(`not settled after ${ms} ms`)
  return promise
}

export const FIELD = {
  tools: 'name',
  prompts: 'name',
  resources: 'uri',
  resourceTemplates: 'uriTemplate',
} as const
export type ListKind = keyof typeof FIELD

export async function listed(stand: Stand, kind: ListKind, caller: Caller): Promise<readonly string[]> {
  const page = await within(stand, stand.runtime.list(kind, ALL, null, caller))
  return page.items.map(item => {
    const shown = JSON.parse(Buffer.from(item).toString()) as Record<string, string>
    return shown[FIELD[kind]] ?? ''
  })
}

const METHODS = {
  tools: ['tools/call', 'name'],
  prompts: ['prompts/get', 'name'],
  resources: ['resources/read', 'uri'],
} as const

/** What the answer says, or the code of the failure; the time has to pass by itself. */
export function asked(
  stand: Stand,
  kind: keyof typeof METHODS,
  key: string,
  caller: Caller,
): Promise<string> {
  const [method, member] = METHODS[kind]
  const outcome = new Promise<Outcome>(resolve => {
    const params = objectAt(Buffer.from(JSON.stringify({ [member]: key })))
    const context = { ...caller, scope: ALL, era: 'legacy', capabilities: Buffer.from('{}') } as const
    stand.runtime.call({ method, params, context }, resolve)
  })
  return outcome.then(textOf)
}

function textOf(outcome: Outcome): string {
  if (outcome.kind === 'cancelled') return 'cancelled'
  if (outcome.kind !== 'answered') return outcome.error.code
  if ('error' in outcome.reply) return Buffer.from(outcome.reply.error).toString()
  return Buffer.from(outcome.reply.result).toString()
}

/** Each caller needs something of each server, listed or not. */
export async function wakeAll(stand: Stand): Promise<void> {
  const { runtime } = stand
  const calls = CALLERS.flatMap(caller =>
    [...runtime.snapshot.upstreams.keys()].map(
      name =>
        new Promise<unknown>(resolve => {
          const scope = { kind: 'server', name } as const
          const context = { ...caller, scope, era: 'legacy', capabilities: Buffer.from('{}') } as const
          runtime.call({ method: 'x/wake', params: null, context }, resolve)
        }),
    ),
  )
  await within(stand, Promise.all(calls), 120_000)
}

export async function useAll(stand: Stand): Promise<void> {
  for (const caller of CALLERS) {
    for (const kind of ['tools', 'prompts', 'resources'] as const) {
      for (const key of await listed(stand, kind, caller))
        await within(stand, asked(stand, kind, key, caller), 90_000)
    }
  }
}

/** What the entry becomes when it is written out again by somebody else. */
export function rewritten<T>(value: T): T {
  if (Array.isArray(value)) return value.map(rewritten) as T
  if (typeof value !== 'object' || value === null) return value
  const keys = Object.keys(value).reverse() as (keyof T)[]
  return Object.fromEntries(keys.map(key => [key, rewritten(value[key])])) as T
}

export const specsOf = ({ runtime }: Stand): readonly UpstreamSpec[] =>
  [...runtime.supervisors.values()].map(({ spec }) => spec)
