import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
import { ensureBuilt, ROOT } from '../kit/build.js'
import type { Fake, FakeOptions, ServerEntry } from '../kit/fake-mcp.js'
import { gatewayEnvironment, startGateway as startOne, TestGateway } from '../kit/gateway.js'
import { markedEnvironment } from '../kit/processes.js'
import { type RawResponse, rawPost } from '../kit/raw-http.js'
import { freshFolder } from '../kit/run-folder.js'
import { modern, openSession, rpc } from '../kit/scripted-core.js'

/** Neither the end of its input nor SIGTERM ends it, and it has a grandchild that holds its pipes. */
export const STUBBORN: FakeOptions = {
  transport: 'stdio',
  script: { ignoreSigterm: true, ignoreStdinEnd: true, grandchild: true, builtins: ['sleep', 'echo'] },
}

export const OBEDIENT: FakeOptions = { transport: 'stdio', script: { builtins: ['sleep', 'echo'] } }

const running: TestGateway[] = []

/** A gateway that is gone after the test, also where that fails before it stops it. */
export const startGateway: typeof startOne = async (...args) => {
  const gateway = await startOne(...args)
  running.push(gateway)
  return gateway
}

afterEach(() => {
  for (const gateway of running.splice(0)) if (gateway.running) gateway.signal('SIGKILL')
})

/** The entry with a variable by which all of its processes are found. */
export function marked(fake: Fake | ServerEntry, mark: string): ServerEntry {
  const entry = 'entry' in fake ? fake.entry : fake
  return { ...entry, env: { ...markedEnvironment(), ...entry.env, STOP_MARK: mark } }
}

let marks = 0
export const freshMark = () => `stopping-${process.pid}-${++marks}-end`

/** A call that does not end by itself, of each client era; resolves when the server runs both. */
export async function hangingCalls(gateway: TestGateway, fake: Fake, name = 'fake') {
  const before = fake.records.runs('sleep')
  const params = { name: `${name}__sleep`, arguments: { ms: 120_000 } }
  const { headers } = await openSession(gateway.url)
  const stateless = modern('tools/call', params, 'm')
  const answers = [
    rawPost(gateway.url, rpc('tools/call', params, 7), headers),
    rawPost(gateway.url, stateless.body, stateless.headers),
  ]
  for (const answer of answers) answer.catch(() => undefined)
  await fake.records.waitFor(records => records.runs('sleep') === before + 2)
  return answers
}

/** Each of them is the whole of one typed answer: it may have run. */
export async function expectOutcomeUnknown(answers: readonly Promise<RawResponse>[]): Promise<void> {
  const ids = ['7', '"m"']
  for (const [index, answer] of (await Promise.all(answers)).entries()) {
    expect(answer.messages).toHaveLength(1)
    const [message = ''] = answer.messages
    expect(message).toContain(`"id":${ids[index]}`)
    const { result } = JSON.parse(message)
    expect(result.isError).toBe(true)
    expect(result.content[0].text).toContain('may or may not have run')
    expect(result._meta['dev.holdfast/failure']).toMatchObject({ kind: 'outcome_unknown' })
  }
}

/** A program around the library; `lines` go to its standard output. */
export async function runProgram(
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<TestGateway> {
  await ensureBuilt()
  const file = join(freshFolder('program'), 'program.mjs')
  writeFileSync(
    file,
    `import { createGateway } from ${JSON.stringify(join(ROOT, 'dist/index.js'))}\n${script}`,
  )
  const child = spawn(process.execPath, [file], {
    env: gatewayEnvironment(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const program = new TestGateway(child, file)
  running.push(program)
  return program
}
