import { describe, expect, test } from 'vitest'
import { instances, type Opened, spec, toolList } from '../../test/kit/own-instances.js'
import type { Entry } from '../core/reload/index.js'
import type { UpstreamSpec } from '../model/index.js'
import type { UpstreamRequest } from './ports.js'

/** A server for all; of another version, another program offers a tool with that name. */
const server = (name: string, version = '1', part: Partial<UpstreamSpec> = {}): UpstreamSpec =>
  spec(name, {
    isolation: 'shared',
    transport: { kind: 'stdio', command: version, args: [], env: {} },
    ...part,
  })

const versionOf = ({ transport }: UpstreamSpec): string =>
  transport.kind === 'stdio' ? transport.command : transport.url

/** One tool that is there in every version, and one that bears its name. */
function answer({ method }: UpstreamRequest, { spec: own }: Opened): string {
  if (method === 'tools/list') return toolList('t', `v${versionOf(own)}`)
  if (method === 'tools/call') return JSON.stringify({ content: [{ type: 'text', text: versionOf(own) }] })
  return '{}'
}

async function running(...specs: UpstreamSpec[]) {
  const world = instances({ specs, answer })
  world.runtime.boot()
  await world.clock.pass(1_000)
  const versions = () =>
    world.opened.map(({ spec: own, ended }) => `${own.name} ${versionOf(own)} ${ended ? 'ended' : 'runs'}`)
  const reload = async (...wanted: Entry[]) => {
    const done = world.runtime.reload(wanted)
    await world.clock.pass(0)
    return done
  }
  return { ...world, versions, reload }
}

describe('a reload of the same values', () => {
  test('changes nothing, not even the snapshot', async () => {
    const { runtime, reload } = await running(server('a'))
    const { snapshot, entries } = runtime
    const { plan } = await reload(structuredClone(server('a')))
    expect(plan.kept).toEqual(['a'])
    expect(runtime.snapshot).toBe(snapshot)
    expect(runtime.entries).toBe(entries)
  })
})
