import { expect } from 'vitest'
import type { Entry } from '../../../src/core/reload/index.js'
import type { UpstreamSpec } from '../../../src/model/index.js'
import { asked, CALLERS, type Stand } from './stand.js'
import { identityOf, isBroken, versionOf } from './versions.js'

interface UnderWay {
  readonly upstream: string
  readonly said: Promise<string>
}

/** Every caller calls every tool of a server that serves. */
export function callAll(stand: Stand): readonly UnderWay[] {
  return CALLERS.flatMap(caller => {
    const { upstreams, catalog } = stand.runtime.snapshotFor(caller)
    return [...catalog.byKey.tools].flatMap(([key, { upstream }]) =>
      upstreams.get(upstream)?.state === 'ready'
        ? [{ upstream, said: asked(stand, 'tools', key, caller) }]
        : [],
    )
  })
}

/** What was called before a reload is answered, by the version before it or by the one after it. */
export async function expectAnswered(
  calls: readonly UnderWay[],
  before: readonly Entry[],
  after: readonly Entry[],
): Promise<void> {
  const old = new Map(before.map(entry => [entry.name, entry]))
  const now = new Map(after.map(entry => [entry.name, entry]))
  for (const { upstream, said } of calls) {
    const words = await said
    const [was, is] = [old.get(upstream), now.get(upstream)]
    if (!was || !is || 'problem' in was || 'problem' in is) continue
    if (!is.enabled || (isBroken(versionOf(is.transport)) && !isSame(was, is))) continue
    expect(
      [was, is].some(({ transport }) => words.includes(inJson(identityOf(transport)))),
      words,
    ).toBe(true)
  }
}

function isSame(was: UpstreamSpec, is: UpstreamSpec): boolean {
  return identityOf(was.transport) === identityOf(is.transport)
}

/** As a text stands in a JSON text. */
export function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1)
}
