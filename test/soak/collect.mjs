// Loaded before the gateway: at SIGUSR2 it lets go of what nobody holds any more.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc')
process.on('SIGUSR2', () => {
  collect()
  setTimeout(collect, 50)
})
