#!/usr/bin/env node
import { holdProcess } from '../hold.js'
import { run } from './program.js'

process.exitCode = await holdProcess(run(process.argv.slice(2)))
