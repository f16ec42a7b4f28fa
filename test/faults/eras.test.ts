import { describe, expect } from 'vitest'
import {
  type ClientV1,
  connectV1Http,
  connectV1Stdio,
  connectV2Http,
  connectV2Stdio,
  gatewayOnStdio,
} from '../kit/clients.js'
import { faultRow, type Row } from './harness.js'

const COUNT = 120
const two = <T>(make: (n: number) => T) => [make(1), make(2)]

/** Enough of each kind for more than a page of the server's lists. */
const script = {
  builtins: ['echo'],
  tools: Array.from({ length: COUNT }, (_, n) => ({ name: `tool${n}`, behaves: 'echo' })),
  resources: two(n => ({ uri: `demo://thing/${n}`, text: `thing ${n}` })),
  resourceTemplates: two(n => ({ uriTemplate: `demo://made${n}/{id}`, text: `made ${n}` })),
  prompts: two(n => ({ name: `ask${n}`, text: `asked ${n}` })),
  pageSize: 50,
}

/** Official clients of both eras, on both faces. */
const CLIENTS: Readonly<Record<string, (row: Row) => Promise<unknown>>> = {
  'legacy http': ({ gateway }) => connectV1Http(gateway.url),
  'modern http': ({ gateway }) => connectV2Http(gateway.url, 'modern'),
  'probing http': ({ gateway }) => connectV2Http(gateway.url, 'auto'),
  'legacy stdio': async ({ gateway }) => connectV1Stdio(await gatewayOnStdio({ url: gateway.url })),
  'modern stdio': async ({ gateway }) => connectV2Stdio(await gatewayOnStdio({ url: gateway.url }), 'modern'),
}

describe('a server of one era alone', () => {
  faultRow(
    'F69',
    'is listed in full, and can be used, by clients of either era on either face',
    // The connections of the official clients outlive them for a while.
    { script, unseen: true, sessions: 1, timeoutMs: 60_000 },
    async row => {
      await row.inject()
      for (const [which, connect] of Object.entries(CLIENTS)) {
        const client = (await connect(row)) as ClientV1
        try {
          expect(await listsOf(client), which).toEqual(FULL)
          await useAll(client)
        } finally {
          await client.close()
        }
      }
      const eras = new Set(row.victim.records.of('tools/call').map(({ era }) => era))
      expect([...eras]).toEqual([row.variant.era])
      await row.lift()
    },
  )
})

/** What the server offers, as its clients have to see it. */
const FULL = {
  tools: ['hold', ...script.tools.map(({ name }) => name), 'echo'].map(name => `victim__${name}`),
  resources: ['demo://victim~/thing/1', 'demo://victim~/thing/2'],
  templates: ['demo://victim~/made1/{id}', 'demo://victim~/made2/{id}'],
  prompts: ['victim__ask1', 'victim__ask2'],
}

async function listsOf(client: ClientV1) {
  const { tools } = await client.listTools()
  const { resources } = await client.listResources()
  const { resourceTemplates } = await client.listResourceTemplates()
  const { prompts } = await client.listPrompts()
  return {
    tools: tools.map(({ name }) => name).filter(name => name.startsWith('victim__')),
    resources: resources.map(({ uri }) => uri),
    templates: resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    prompts: prompts.map(({ name }) => name),
  }
}

async function useAll(client: ClientV1): Promise<void> {
  const last = `victim__tool${COUNT - 1}`
  const { structuredContent } = await client.callTool({ name: last, arguments: { n: 1 } })
  expect(structuredContent).toEqual({ n: 1 })
  const { contents } = await client.readResource({ uri: 'demo://victim~/thing/2' })
  expect(contents[0]).toMatchObject({ uri: 'demo://victim~/thing/2', text: 'thing 2' })
  const { messages } = await client.getPrompt({ name: 'victim__ask2' })
  expect(JSON.stringify(messages)).toContain('asked 2')
}
