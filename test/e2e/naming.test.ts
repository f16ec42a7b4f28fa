import { describe, expect } from 'vitest'
import { callTool, failureOf, missingIn, options, withClient } from '../acceptance/shared.js'
import { connectV1Http } from '../kit/clients.js'
import { withFakes } from '../kit/fake-mcp.js'
import { runCommand, withGateway, writeConfig } from '../kit/gateway.js'
import { isAlive } from '../kit/processes.js'
import { verifies } from '../kit/verifies.js'
import { offering } from './shared.js'

const slowly = (who: string, ms: number) => ({
  ...offering(who),
  faults: [{ on: 'initialize', do: { kind: 'delay', ms } as const }],
})

const textTool = (name: string, text: string) => ({
  name,
  result: `{"content":[{"type":"text","text":"${text}"}]}`,
})

describe('a name that two servers make', () => {
  for (const [first, delays] of [
    ['the winner', [0, 400]],
    ['the loser', [400, 0]],
  ] as const) {
    verifies(
      ['A11'],
      `belongs to the earlier one of the config when ${first} answers first, for every kind`,
      async () => {
        await withFakes(
          delays.map((ms, i) => ({ script: slowly('ab'.charAt(i), ms) })),
          async (a, b) => {
            if (!a || !b) throw new Error('two fakes were asked for')
            const mcpServers = { a: options(a.entry, { prefix: 'x' }), b: options(b.entry, { prefix: 'x' }) }
            await withClient(mcpServers, async (client, gateway) => {
              expect((await client.listTools()).tools.map(tool => tool.name)).toEqual(['x__my_tool'])
              expect((await client.listPrompts()).prompts.map(prompt => prompt.name)).toEqual([
                'x__my_prompt',
              ])
              expect((await client.listResources()).resources.map(({ uri }) => uri)).toEqual([
                'demo://x~/thing/1',
              ])
              expect((await callTool(client, 'x__my_tool')).content[0]?.text).toBe('a')
              expect(JSON.stringify(await client.getPrompt({ name: 'x__my_prompt' }))).toContain('"text":"a"')
              const text = async (uri: string) => (await client.readResource({ uri })).contents[0]
              expect(await text('demo://x~/thing/1')).toMatchObject({ text: 'a' })
              const { shadowed } = (await gateway.upstream('b')).catalog
              expect(
                shadowed.map(({ kind, name, by, reachableAs }) => [kind, name, by, reachableAs]),
              ).toEqual([
                ['tools', 'x__my_tool', 'a', 'b__my_tool'],
                ['resources', 'demo://x~/thing/1', 'a', 'demo://b~/thing/1'],
                ['resourceTemplates', 'demo://x~/made/{id}', 'a', 'demo://b~/made/{id}'],
                ['prompts', 'x__my_prompt', 'a', 'b__my_prompt'],
              ])
              expect((await gateway.upstream('a')).catalog.shadowed).toEqual([])
              expect((await callTool(client, 'b__my_tool')).content[0]?.text).toBe('b')
              expect(JSON.stringify(await client.getPrompt({ name: 'b__my_prompt' }))).toContain('"text":"b"')
              expect(await text('demo://b~/thing/1')).toMatchObject({ text: 'b' })
              const told = () =>
                gateway.log.filter(line => JSON.stringify(line).includes('x__my_tool (tools) is hidden'))
              await expect
                .poll(told)
                .toMatchObject([{ upstream: 'b', message: expect.stringContaining('the one of a') }])
            })
          },
        )
      },
    )
  }

  verifies(
    ['A11', 'B21'],
    'stays with the earlier one through its outage and after it; the later one can be reached all the while',
    async () => {
      await withFakes([{ script: offering('a') }, { script: offering('b') }], async (a, b) => {
        const mcpServers = { a: options(a.entry, { prefix: 'x' }), b: options(b.entry, { prefix: 'x' }) }
        await withClient(mcpServers, async (client, gateway) => {
          await a.crash()
          await callTool(client, 'x__my_tool')
          await gateway.waitFor(status => status.upstreams[0]?.health === 'unhealthy')
          const listed = await client.listTools()
          expect(listed.tools.map(tool => tool.name)).toEqual(['x__my_tool'])
          expect(missingIn(listed)).toMatchObject([{ upstream: 'a', stale: true }])
          expect(failureOf(await callTool(client, 'x__my_tool'))).toMatchObject({
            upstream: 'a',
            kind: 'unavailable',
          })
          await expect(client.getPrompt({ name: 'x__my_prompt' })).rejects.toMatchObject({
            code: 50301,
            data: { upstream: 'a' },
          })
          await expect(client.readResource({ uri: 'demo://x~/thing/1' })).rejects.toMatchObject({
            code: 50301,
            data: { upstream: 'a' },
          })
          expect((await callTool(client, 'b__my_tool')).content[0]?.text).toBe('b')
          expect(b.records.count('prompts/get') + b.records.count('resources/read')).toBe(0)
          expect(b.records.runs('my_tool')).toBe(1)
          await a.restart()
          await gateway.waitForState('a', 'ready', 30_000)
          expect((await callTool(client, 'x__my_tool')).content[0]?.text).toBe('a')
        })
      })
    },
  )

  verifies(
    ['A12'],
    'only by where a separator stands is not one name: prefixes cannot hold the separator',
    async () => {
      const script = (name: string, text: string) => ({ builtins: false, tools: [textTool(name, text)] })
      await withFakes(
        [
          { script: script('b_c', 'first') },
          { script: script('c', 'second') },
          { script: script('c', 'third') },
        ],
        async (first, second, third) => {
          const mcpServers = { a: first.entry, a_b: second.entry, a__b: third.entry }
          const refused = await runCommand(['check', writeConfig({ mcpServers }), '--json'])
          expect(refused.code).not.toBe(0)
          expect(refused.stdout + refused.stderr).toMatch(/a__b[\s\S]*must not hold \\?"__/)
          await withClient(mcpServers, async (client, gateway) => {
            const listed = await client.listTools()
            expect(listed.tools.map(tool => tool.name)).toEqual(['a__b_c', 'a_b__c'])
            expect((await callTool(client, 'a__b_c')).content[0]?.text).toBe('first')
            expect((await callTool(client, 'a_b__c')).content[0]?.text).toBe('second')
            const bad = await gateway.upstream('a__b')
            expect(bad).toMatchObject({ state: 'misconfigured', action: 'fix_config' })
            expect(bad.reason).toContain('"__"')
            expect(third.records.ofKind('connection')).toEqual([])
          })
        },
      )
    },
  )
})

describe('a name that clients cannot take', () => {
  const long = `very_${'long_'.repeat(20)}name`
  const odd = ['get data', 'get/data', 'get.data', 'größe', long, `${long}2`]
  const script = {
    builtins: false,
    tools: odd.map(name => textTool(name, name)),
    prompts: odd.map(name => ({ name, text: name })),
  }

  verifies(['A13'], 'maps to the same stable one for tools and prompts, also across an outage', async () => {
    await withFakes([{ script }], async fake => {
      const listing = async (client: Awaited<ReturnType<typeof connectV1Http>>) => ({
        tools: (await client.listTools()).tools.map(tool => tool.name),
        prompts: (await client.listPrompts()).prompts.map(prompt => prompt.name),
      })
      const first = await withClient({ a: fake.entry }, async (client, gateway) => {
        const before = await listing(client)
        expect(before.tools).toContain('a__get.data')
        expect(new Set(before.tools).size).toBe(odd.length)
        expect(before.prompts).toEqual(before.tools)
        for (const [i, name] of before.tools.entries()) {
          expect(name).toMatch(/^a__[A-Za-z0-9_.-]{1,61}$/)
          expect((await callTool(client, name)).content[0]?.text).toBe(odd[i])
          expect(JSON.stringify(await client.getPrompt({ name }))).toContain(`"${odd[i]}"`)
        }
        await fake.crash()
        await callTool(client, before.tools[0] ?? '')
        await gateway.waitFor(status => status.upstreams[0]?.health === 'unhealthy')
        expect(await listing(client)).toEqual(before)
        expect(failureOf(await callTool(client, before.tools[4] ?? ''))).toMatchObject({ upstream: 'a' })
        await fake.restart()
        await gateway.waitForState('a', 'ready', 30_000)
        expect(await listing(client)).toEqual(before)
        return before
      })
      await withClient({ a: fake.entry }, async client => expect(await listing(client)).toEqual(first))
    })
  })

  verifies(['A13'], 'is left as it is under the address of its server', async () => {
    await withFakes([{ script }], async fake => {
      await withGateway({ mcpServers: { a: fake.entry } }, async gateway => {
        await gateway.settled()
        const client = await connectV1Http(`${gateway.origin}/mcp/s/a`)
        expect((await client.listTools()).tools.map(tool => tool.name)).toEqual(odd)
        for (const name of odd) expect((await callTool(client, name)).content[0]?.text).toBe(name)
        await client.close()
      })
    })
  })
})

describe('two entries with one command', () => {
  verifies(['A16'], 'are two processes: the death of one leaves the other alone', async () => {
    await withFakes([{ transport: 'stdio', script: { builtins: ['count', 'whoami'] } }], async fake => {
      await withClient({ one: fake.entry, two: fake.entry }, async (client, gateway) => {
        const one = (await gateway.upstream('one')).pid ?? 0
        const two = (await gateway.upstream('two')).pid ?? 0
        expect(one).not.toBe(two)
        expect([isAlive(one), isAlive(two)]).toEqual([true, true])
        const pidOf = async (name: string) =>
          (
            JSON.parse((await callTool(client, `${name}__whoami`)).content[0]?.text ?? '{}') as {
              pid: number
            }
          ).pid
        expect([await pidOf('one'), await pidOf('two')]).toEqual([one, two])
        expect((await callTool(client, 'one__count')).content[0]?.text).toBe('1')
        expect((await callTool(client, 'two__count')).content[0]?.text).toBe('1')
        process.kill(one, 'SIGKILL')
        const after = await gateway.waitFor(
          status => status.upstreams[0]?.state === 'ready' && status.upstreams[0].pid !== one,
        )
        expect(after.upstreams.map(({ restarts }) => restarts)).toEqual([1, 0])
        expect(after.upstreams[1]).toMatchObject({ state: 'ready', pid: two, lastError: null })
        expect((await callTool(client, 'two__count')).content[0]?.text).toBe('2')
        expect((await callTool(client, 'one__count')).content[0]?.text).toBe('1')
      })
    })
  })
})
