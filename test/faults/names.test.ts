import { describe, expect } from 'vitest'
import { options } from '../acceptance/shared.js'
import { type Fake, withFakes } from '../kit/fake-mcp.js'
import { type TestGateway, withGateway } from '../kit/gateway.js'
import { rawPost } from '../kit/raw-http.js'
import { modern, openSession, rpc } from '../kit/scripted-core.js'
import { until } from '../kit/until.js'
import { verifies } from '../kit/verifies.js'
import { type Variant, variantsOf } from './harness.js'

const LATIN = 'paypal'
/** The same to the eye, with two Cyrillic letters. */
const CYRILLIC = 'p\u0430yp\u0430l'
/** The same once they are normalised. */
const COMPOSED = 'caf\u00e9'
const DECOMPOSED = 'cafe\u0301'
const OWN = ['same', 'read', LATIN, COMPOSED]
const RIVAL = ['same', 'Read', 'READ', CYRILLIC, DECOMPOSED]

const telling = (who: string, names: readonly string[]) =>
  names.map(name => ({
    name,
    result: JSON.stringify({ content: [{ type: 'text', text: `${who} ${name}` }] }),
  }))

const HANDSHAKE = { legacy: 'initialize', modern: 'server/discover' } as const

describe('names of two servers under one prefix that are equal or look alike', () => {
  for (const variant of variantsOf({})) {
    verifies(
      ['F49', 'A11', 'A13', 'P18'],
      `are told apart the same way, in the same order, after every restart (${variant.era} ${variant.transport})`,
      () => restarts(variant),
    )
  }
})

function restarts({ transport, era }: Variant): Promise<void> {
  const script = (who: string, names: readonly string[]) => ({
    transport,
    script: { name: who, eras: era, builtins: false, tools: telling(who, names) },
  })
  return withFakes([script('own', OWN), script('rival', RIVAL)], async (own, rival) => {
    const pin = transport === 'stdio' && era === 'modern' ? { era } : {}
    const mcpServers = {
      own: options(own.entry, { prefix: 'x', ...pin }),
      rival: options(rival.entry, { prefix: 'x', ...pin }),
    }
    const seen: string[][] = []
    // Whoever comes up first, and with neither of them late.
    for (const late of [null, own, rival]) {
      const faults = [{ on: HANDSHAKE[era], do: { kind: 'delay', ms: 400 } as const }]
      for (const fake of [own, rival]) await fake.patch({ faults: fake === late ? faults : [] })
      await withGateway({ mcpServers }, async gateway => {
        await settled(gateway)
        seen.push(await namesOf(gateway))
        for (const fake of [rival, own]) await again(gateway, fake, fake === own ? 'own' : 'rival')
        seen.push(await namesOf(gateway))
        expect(await tellersOf(gateway, seen[0] ?? [])).toEqual([
          ...OWN.map(name => `own ${name}`),
          ...RIVAL.filter(name => name !== 'same').map(name => `rival ${name}`),
        ])
        const { shadowed } = (await gateway.upstream('rival')).catalog
        expect(shadowed).toMatchObject([
          { kind: 'tools', name: 'x__same', by: 'own', reachableAs: 'rival__same' },
        ])
        expect(await tellersOf(gateway, ['rival__same'])).toEqual(['rival same'])
      })
    }
    for (const names of seen) expect(names).toEqual(seen[0])
    expect(seen[0]).toHaveLength(new Set(seen[0]).size)
    expect(seen[0]).toEqual(expect.arrayContaining(['x__same', 'x__read', 'x__Read', 'x__READ', 'x__paypal']))
  })
}

async function settled(gateway: TestGateway): Promise<void> {
  await gateway.waitFor(({ upstreams: [own, rival] }) => {
    return own?.catalog.tools === OWN.length && rival?.catalog.tools === RIVAL.length
  })
  await gateway.waitFor(({ upstreams }) => upstreams.every(({ state }) => state === 'ready'))
}

/** It, or its process, ends and comes back. */
async function again(gateway: TestGateway, fake: Fake, name: string): Promise<void> {
  const { restarts: before } = await gateway.upstream(name)
  await fake.crash()
  if (fake.transport === 'stdio')
    await gateway.waitFor(
      ({ upstreams }) => upstreams.find(each => each.name === name)?.restarts === before + 1,
    )
  else await fake.restart()
  await until(`${name} serves`, async () => !(await isMissing(gateway, name)))
}

async function isMissing(gateway: TestGateway, name: string): Promise<boolean> {
  const [told] = await tellersOf(gateway, [name === 'own' ? 'x__read' : 'x__READ'])
  return !told?.startsWith(name)
}

/** The list as clients of both eras get it, which is the same. */
async function namesOf(gateway: TestGateway): Promise<string[]> {
  const { headers } = await openSession(gateway.url)
  const { body, headers: modernHeaders } = modern('tools/list')
  const lists = [
    await rawPost(gateway.url, rpc('tools/list', {}), headers),
    await rawPost(gateway.url, body, modernHeaders),
  ].map(({ messages }) =>
    (JSON.parse(messages.at(-1) ?? '').result.tools as { name: string }[]).map(({ name }) => name),
  )
  expect(lists[1]).toEqual(lists[0])
  return lists[0] ?? []
}

/** What the tools of these names say of themselves. */
async function tellersOf(gateway: TestGateway, names: readonly string[]): Promise<string[]> {
  const told: string[] = []
  for (const name of names) {
    const { body, headers } = modern('tools/call', { name, arguments: {} })
    const { messages } = await rawPost(gateway.url, body, headers)
    told.push(JSON.parse(messages.at(-1) ?? '').result?.content[0].text)
  }
  return told
}
