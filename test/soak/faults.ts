import { setTimeout as delay } from 'node:timers/promises'
import { pick } from '../kit/dice.js'
import type { Action, Fake } from '../kit/fake-mcp.js'
import { isAlive } from '../kit/processes.js'

const ACTIONS: readonly Action[] = [
  { kind: 'http', status: 500 },
  { kind: 'http', status: 503, headers: { 'retry-after': '1' } },
  { kind: 'http', status: 429, headers: { 'retry-after': '1' } },
  { kind: 'reset' },
  { kind: 'close' },
  { kind: 'cut' },
  { kind: 'accepted' },
  { kind: 'stream-end' },
  { kind: 'html' },
  { kind: 'wrong-id' },
  { kind: 'duplicate' },
  { kind: 'neither' },
  { kind: 'delay', ms: 400 },
]
const ON_STDIO: readonly Action[] = [
  { kind: 'crash', code: 1 },
  { kind: 'cut' },
  { kind: 'wrong-id' },
  { kind: 'duplicate' },
  { kind: 'neither' },
  { kind: 'garbage', text: '%%%' },
  { kind: 'delay', ms: 400 },
]

/** One fault of one server, for a while, and the end of it. */
export async function trouble(fake: Fake, random: () => number): Promise<string> {
  const ms = 200 + random() * 1_500
  if (random() < 0.4)
    return fake.transport === 'stdio' ? endOrStop(fake, random, ms) : goAway(fake, random, ms)
  const action = pick(fake.transport === 'stdio' ? ON_STDIO : ACTIONS, random)
  await fake.patch({ faults: [{ on: pick(['tools/call', '*'], random), do: action }] })
  await delay(ms)
  await fake.patch({ faults: [] })
  return action.kind
}

async function endOrStop(fake: Fake, random: () => number, ms: number): Promise<string> {
  const pid = fake.records.pids.at(-1)
  if (pid === undefined || !isAlive(pid)) return 'gone already'
  if (random() < 0.6) {
    send(pid, 'SIGKILL')
    return 'SIGKILL'
  }
  send(pid, 'SIGSTOP')
  await delay(ms)
  send(pid, 'SIGCONT')
  return 'SIGSTOP'
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended in between.
  }
}

async function goAway(fake: Fake, random: () => number, ms: number): Promise<string> {
  if (random() < 0.3) {
    fake.dropSessions()
    return 'sessions lost'
  }
  await fake.crash()
  await delay(ms)
  await fake.restart()
  return 'away'
}
