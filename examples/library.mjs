// The gateway inside a program of your own.
import { fileURLToPath } from 'node:url'
import { createGateway } from 'holdfast'

const gateway = await createGateway({
  mcpServers: {
    files: {
      command: 'node',
      args: [
        fileURLToPath(
          new URL('../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js', import.meta.url),
        ),
        fileURLToPath(new URL('sample-files', import.meta.url)),
      ],
    },
    broken: { command: 'node', args: ['-e', 'process.exit(1)'] },
  },
})
// A list never waits for long; here everybody's first start is worth waiting for.
await gateway.settled()
const { tools, unavailable } = await gateway.listTools()
console.log(
  tools.length,
  'tools; missing:',
  unavailable.map(({ upstream, reason }) => `${upstream} (${reason})`),
)

const path = fileURLToPath(new URL('sample-files/hello.txt', import.meta.url))
const result = await gateway.callTool('files__read_text_file', { path }, { timeoutMs: 5_000 })
console.log(result.content[0].text)

await gateway.callTool('broken__anything').catch(error => console.log(error.kind, '-', error.message))
await gateway.close()
