// Loaded before the gateway: the config file changes after it was read, and before the gateway listens.
import { writeFileSync } from 'node:fs'
import { Server } from 'node:net'

const { listen } = Server.prototype
Server.prototype.listen = function (...args) {
  Server.prototype.listen = listen
  writeFileSync(process.env.LATE_EDIT_FILE, process.env.LATE_EDIT_TEXT)
  return listen.apply(this, args)
}
