#!/usr/bin/env node
import { run } from './program.js'

// The timers of the gateway keep no process alive; a command that still waits for something must.
const alive = setInterval(() => undefined, 2 ** 30)
process.exitCode = await run(process.argv.slice(2))
clearInterval(alive)
