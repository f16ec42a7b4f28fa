// Testing, watching and restarting servers from a program of your own.
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
    broken: { command: 'node', args: ['-e', 'console.error("no database"); process.exit(1)'] },
  },
})

for (const name of ['files', 'broken']) {
  const { ok, phase, counts, error } = await gateway.upstream(name).test({ retries: 1 })
  console.log(name, ok ? `works with ${counts.tools} tools` : `fails at ${phase}: ${error.message}`)
}

gateway.on('upstream', ({ upstream, change, from, to }) => {
  if (change === 'health') console.log(upstream, 'went from', from, 'to', to)
})
await gateway.settled()

const files = gateway.upstream('files')
const { pid } = files.status()
await files.restart()
await gateway.callTool('files__list_allowed_directories')
console.log('restarted:', files.status().pid !== pid)
await gateway.close()
