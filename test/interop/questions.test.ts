import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { describe, expect } from 'vitest'
import { connectV1Http } from '../kit/clients.js'
import { startFake } from '../kit/fake-mcp.js'
import { withGateway } from '../kit/gateway.js'
import { verifies } from '../kit/verifies.js'

const ELICITATION = { capabilities: { elicitation: {} } }
const question = (who: number) => ({
  method: 'elicitation/create',
  params: {
    message: `who is ${who}?`,
    requestedSchema: { type: 'object', properties: { name: { type: 'string' } } },
  },
})

async function connectAnswering(url: string, who: number) {
  const client = await connectV1Http(url, ELICITATION)
  const asked: string[] = []
  client.setRequestHandler(ElicitRequestSchema, request => {
    asked.push(request.params.message)
    return { action: 'accept', content: { name: `client ${who}` } }
  })
  return { client, asked }
}

describe("a server's question in the middle of a call", () => {
  verifies(['C37'], 'goes to the client whose call caused it, with twenty clients at once', async () => {
    const fake = await startFake({ transport: 'http', script: {} })
    try {
      await withGateway({ mcpServers: { fake: fake.entry } }, async gateway => {
        await gateway.waitForState('fake', 'ready')
        const clients = await Promise.all(
          Array.from({ length: 20 }, (_, who) => connectAnswering(gateway.url, who)),
        )
        await Promise.all(
          clients.map(async ({ client, asked }, who) => {
            const result = await client.callTool({ name: 'fake__ask', arguments: question(who) })
            expect(JSON.stringify(result)).toContain(`client ${who}`)
            expect(asked).toEqual([`who is ${who}?`])
          }),
        )
        await Promise.all(clients.map(({ client }) => client.close()))
        // One session for lists and plain calls, one for all callers that can be asked the same.
        expect(fake.records.sessions.length).toBe(2)
      })
    } finally {
      await fake.stop()
    }
  })

  verifies(
    ['C37'],
    'is never put to a caller that cannot be asked: the server knows it from the handshake',
    async () => {
      const fake = await startFake({ transport: 'http', script: {} })
      try {
        await withGateway({ mcpServers: { fake: fake.entry } }, async gateway => {
          await gateway.waitForState('fake', 'ready')
          const deaf = await connectV1Http(gateway.url)
          const result = await deaf.callTool({ name: 'fake__ask', arguments: question(1) })
          expect(JSON.stringify(result)).toContain('does not support elicitation')
          await deaf.close()
        })
      } finally {
        await fake.stop()
      }
    },
  )

  verifies(['C37'], 'of a modern server is put to a legacy client live', async () => {
    const fake = await startFake({ transport: 'http', script: { eras: 'modern' } })
    try {
      await withGateway({ mcpServers: { fake: fake.entry } }, async gateway => {
        await gateway.waitForState('fake', 'ready')
        const { client, asked } = await connectAnswering(gateway.url, 7)
        const result = await client.callTool({ name: 'fake__ask', arguments: question(7) })
        expect(JSON.stringify(result)).toContain('client 7')
        expect(asked).toEqual(['who is 7?'])
        await client.close()
      })
    } finally {
      await fake.stop()
    }
  })
})
