/** A whole runtime on virtual time, whose servers come in versions. */
import type { Entry } from '../../src/core/reload/index.js'
import type { UpstreamSpec } from '../../src/model/index.js'
import type { UpstreamRequest } from '../../src/runtime/ports.js'
import { instances, nameOf, type Opened, spec, toolList } from './own-instances.js'

/** A program for all; the version is its command. */
export function server(name: string, version = '1', part: Partial<UpstreamSpec> = {}): UpstreamSpec {
  const transport = { kind: 'stdio', command: version, args: [], env: {} } as const
  return spec(name, { isolation: 'shared', transport, ...part })
}

export function versionOf({ transport }: UpstreamSpec): string {
  return transport.kind === 'stdio' ? transport.command : transport.url
}

/** One tool that every version has, and one that bears its name; a call of `wait` is never answered. */
function answer({ method, params }: UpstreamRequest, { spec: own }: Opened): string | null {
  if (method === 'tools/list') return toolList('t', 'wait', `v${versionOf(own)}`)
  if (method === 'resources/list') return JSON.stringify({ resources: [{ uri: 'note:///n', name: 'n' }] })
  if (method !== 'tools/call') return '{}'
  const isWaiting = Buffer.from(params?.bytes ?? '').includes('wait"')
  return isWaiting ? null : JSON.stringify({ content: [{ type: 'text', text: versionOf(own) }] })
}

export type Reloadable = Awaited<ReturnType<typeof reloadable>>

/** With these servers running. */
export async function reloadable(...specs: readonly UpstreamSpec[]) {
  const world = instances({ specs, answer, credentials: () => null })
  const { runtime, clock, opened } = world
  runtime.boot()
  await clock.pass(1_000)
  /** What was started, in order. */
  const versions = () =>
    opened.map(({ spec: own, ended }) => `${own.name}${versionOf(own)}${ended ? ' ended' : ''}`)
  const living = () => opened.filter(({ ended }) => !ended).map(({ spec: own }) => own.name + versionOf(own))
  /** Begun, and as far as it gets without time. */
  const reload = async (...wanted: readonly Entry[]) => {
    const done = runtime.reload(wanted)
    await clock.pass(100)
    return done
  }
  const tools = async (principal = 'local') =>
    nameOf(await runtime.list('tools', { kind: 'all' }, null, { principal }))
  /** Follows the resource of a server; what is told of it. */
  const follow = async (name: string, principal = 'local') => {
    const told: string[] = []
    const settled = (refusal: unknown) => void told.push(refusal ? 'refused' : 'stands')
    const events = { settled, updated: () => void told.push('updated') }
    const scope = { kind: 'all' } as const
    const { end } = runtime.subscribe(scope, `note://${name}~//n`, { principal }, events)
    await clock.pass(100)
    return { told, end }
  }
  return { ...world, versions, living, reload, tools, follow }
}

/** It takes that long to start, or for ever. */
export function opensLate(world: Pick<Reloadable, 'behaviour' | 'clock'>, version: string, ms: number): void {
  world.behaviour.opening = (_, __, own) =>
    versionOf(own) === version ? new Promise(resolve => world.clock.after(ms, () => resolve(null))) : null
}

/** That version cannot start. */
export function refuses(world: Pick<Reloadable, 'behaviour'>, version: string): void {
  world.behaviour.opening = (_, __, own) =>
    versionOf(own) === version ? Promise.reject(new Error('no database')) : null
}
