// A gateway that tells what it holds: run with --expose-gc, asked over the IPC channel.
import { readdirSync } from 'node:fs'
import { createGateway } from '../../dist/index.js'

const config = JSON.parse(process.argv[2])
const gateway = await createGateway(config)
const { url } = await gateway.listen()
const faults = []
process.on('unhandledRejection', reason => faults.push(String(reason)))
process.on('uncaughtException', error => faults.push(String(error)))

process.on('message', async what => {
  if (what === 'measure') {
    globalThis.gc()
    await new Promise(resolve => setTimeout(resolve, 50))
    globalThis.gc()
    const resources = {}
    for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1
    const { rss, heapUsed } = process.memoryUsage()
    process.send({ rss, heapUsed, fds: readdirSync('/proc/self/fd').length, resources, faults })
  }
  if (what === 'stop') {
    await gateway.close()
    process.disconnect()
  }
})
process.send({ url: String(url) })
