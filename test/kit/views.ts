import {
  type Component,
  EMPTY_CATALOG,
  type Kind,
  NEVER_CONNECTED,
  type UpstreamView,
} from '../../src/model/index.js'

/** Views of upstreams for tests of pure decisions. */
export function component(kind: Kind, key: string): Component {
  return { kind, key, bytes: Buffer.from(JSON.stringify({ name: key })) }
}

export function view(name: string, part: Partial<UpstreamView> = {}): UpstreamView {
  return {
    ...NEVER_CONNECTED,
    name,
    prefix: name,
    transport: 'stdio',
    state: 'ready',
    health: 'healthy',
    since: 0,
    reason: null,
    lastError: null,
    unavailable: 'keep',
    isolation: 'shared',
    ...part,
  }
}

export function offering(kind: Kind, ...keys: string[]): UpstreamView['catalog'] {
  return {
    ...EMPTY_CATALOG,
    [kind]: { state: 'live', items: keys.map(key => component(kind, key)), fetchedAt: 0 },
  }
}
