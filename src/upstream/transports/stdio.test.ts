import { afterEach, describe, expect, test } from 'vitest'
import { assertNoneLeft, markedEnvironment, waitForExit } from '../../../test/kit/processes.js'
import { freshFolder } from '../../../test/kit/run-folder.js'
import { TIMEOUTS, TransportRecorder } from '../../../test/kit/transport-recorder.js'
import { nodeHost } from '../../host/index.js'
import { LIMITS } from '../../model/index.js'
import type { Transport, TransportFault } from '../transport.js'
import { createStdioTransport, type Ladder } from './stdio.js'

const QUICK: Ladder = { termMs: 300, killMs: 300 }
const ECHO = "process.stdin.on('data', chunk => process.stdout.write(chunk))"
const never = new AbortController().signal
const open: Transport[] = []

afterEach(() => {
  for (const transport of open.splice(0)) transport.destroy()
})

interface Started {
  readonly transport: Transport
  readonly events: TransportRecorder
  /** In the environment of everything that belongs to this child. */
  readonly mark: string
}

interface Program {
  readonly command?: string
  readonly args?: readonly string[]
  readonly cwd?: string
  readonly ladder?: Ladder
}

function make(script: string, program: Program = {}): Started {
  const events = new TransportRecorder()
  const mark = freshFolder('stdio')
  const env = { ...markedEnvironment(), TEST_MARK: mark }
  const { command = process.execPath, args = ['-e', script], cwd, ladder = QUICK } = program
  const spec = { kind: 'stdio' as const, command, args, env, ...(cwd === undefined ? {} : { cwd }) }
  const transport = createStdioTransport(nodeHost(), spec, TIMEOUTS, events, ladder)
  open.push(transport)
  return { transport, events, mark }
}

async function start(script: string, program: Program = {}): Promise<Started> {
  const started = make(script, program)
  await started.transport.start(never)
  return started
}

const shell = (script: string) => ({ command: '/bin/sh', args: ['-c', script] })
const say = (id: number) => ({ id, bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"m"}`) })
const faultOf = (thrown: Promise<void>) =>
  thrown.then(
    () => null,
    (fault: TransportFault) => fault,
  )

describe('a child over stdio', () => {
  test('gets each message as a line and gives lines back as messages, with noise told apart', async () => {
    const { transport, events } = await start(`process.stdout.write('hello, I am a banner\\n');${ECHO}`)
    transport.send({ id: 1, bytes: Buffer.from('{"id":1,\n"method":"m"}') })
    const { text, source } = await events.next('message')
    expect(JSON.parse(text)).toEqual({ id: 1, method: 'm' })
    expect(source).toBeNull()
    expect((await events.next('noise')).text).toContain('hello, I am a banner')
  })

  test('is understood when its output comes byte by byte', async () => {
    const script = `
      const bytes = Buffer.from('{"a":"é✓"}\\r\\n{"b":2}\\n'); let at = 0
      const next = () => { if (at < bytes.length) { process.stdout.write(bytes.subarray(at, ++at)); setImmediate(next) } }
      next(); process.stdin.resume()`
    const { events } = await start(script)
    await events.next('message', 2)
    expect(events.all('message').map(event => event.text)).toEqual(['{"a":"é✓"}', '{"b":2}'])
  })

  test('may write a line beyond the bound, which is dropped while the next one arrives', async () => {
    const script = `
      const part = 'x'.repeat(1 << 20); let left = 20
      const next = () => left-- > 0 ? process.stdout.write(part, next) : process.stdout.write('\\n{"after":1}\\n')
      process.stdout.write('{"big":"', next); process.stdin.resume()`
    const { events } = await start(script)
    expect((await events.next('message')).text).toBe('{"after":1}')
    expect(20 << 20).toBeGreaterThan(LIMITS.upstreamMessageBytes)
    expect(events.all('noise')[0]?.text).toMatch(/^a line of more than \d{8} bytes was dropped/)
  })

  test('keeps the answers that it printed just before its exit', async () => {
    const { events } = await start(`process.stdout.write('{"id":1}\\n'.repeat(2000), () => process.exit(0))`)
    const { fault } = await events.next('closed')
    expect(fault.message).toBe('exited with code 0')
    expect(events.all('message')).toHaveLength(2000)
    expect(events.log.at(-1)?.kind).toBe('closed')
  })
})

describe('the end of a child', () => {
  test('is told with its exit code and the last lines of its stderr', async () => {
    const { events } = await start(`console.error('loading'); console.error('boom'); process.exitCode = 3`)
    const { fault } = await events.next('closed')
    expect(fault).toMatchObject({
      reason: 'exit',
      phase: 'unknown',
      message: 'exited with code 3: loading | boom',
      exit: { code: 3, signal: null },
    })
    expect(events.all('stderr').map(event => event.text)).toEqual(['loading', 'boom'])
  })

  test('by SIGKILL is seen at once, also when a grandchild holds the pipes; the grandchild goes too', async () => {
    const script = `
      require('node:child_process').spawn('sleep', ['60'], { stdio: 'inherit' }); ${ECHO}`
    const { transport, events, mark } = await start(script)
    transport.send(say(1))
    await events.next('message')
    const killedAt = performance.now()
    process.kill(transport.pid as number, 'SIGKILL')
    const { fault, at } = await events.next('closed')
    expect(fault.message).toBe('was killed by SIGKILL')
    expect(at - killedAt).toBeLessThan(1_000)
    await assertNoneLeft(mark)
  })

  test('includes what a launcher left behind', async () => {
    const { events, mark } = await start('', shell('sleep 60 & exit 4'))
    expect((await events.next('closed')).fault.message).toBe('exited with code 4')
    await assertNoneLeft(mark)
  })

  test('comes when it closes its input or its output and lives on', async () => {
    const input = await start('', shell('exec 0<&-; echo "{}"; while :; do sleep 1; done'))
    await input.events.next('message')
    input.transport.send(say(1))
    expect((await input.events.next('closed')).fault.reason).toBe('stdin')
    const output = await start('', shell('exec 1>&-; while :; do sleep 1; done'))
    expect((await output.events.next('closed')).fault).toMatchObject({ reason: 'eof', phase: 'unknown' })
    await assertNoneLeft(input.mark)
    await assertNoneLeft(output.mark)
  })

  test('tells the exit rather than the broken pipe when both happen', async () => {
    const { transport, events } = await start(
      `process.stdin.destroy(); console.error('why'); setTimeout(() => process.exit(9), 30)`,
    )
    for (let id = 1; id <= 20; id++) transport.send(say(id))
    expect((await events.next('closed')).fault.message).toBe('exited with code 9: why')
  })
})

describe('messages that were never written', () => {
  test('are refused beyond the bound of the queue, one that fits alone is not', async () => {
    const { transport, events } = await start('setInterval(() => {}, 1000)')
    const big = (id: number) => ({ id, bytes: Buffer.from(`{"id":${id},"x":"${'y'.repeat(600_000)}"}`) })
    transport.send(big(1))
    transport.send(big(2))
    const { id, fault } = await events.next('ended')
    expect({ id, fault }).toMatchObject({ id: 2, fault: { phase: 'never-sent', reason: 'stdin' } })
    expect(fault?.message).toContain('does not read its input')
    expect(600_000 * 2).toBeGreaterThan(LIMITS.stdinQueueBytes)
  })

  test('are told apart from written ones when the child dies', async () => {
    const { transport, events } = await start('setInterval(() => {}, 1000)')
    // More than a pipe holds: what follows in a later turn waits.
    transport.send({ id: 1, bytes: Buffer.from(`{"x":"${'y'.repeat(900_000)}"}`) })
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)))
    transport.send(say(2))
    process.kill(transport.pid as number, 'SIGKILL')
    const { fault } = await events.next('closed')
    expect(fault.phase).toBe('unknown')
    expect(events.all('ended').map(event => [event.id, event.fault?.phase])).toEqual([[2, 'never-sent']])
    expect(events.log.at(-1)?.kind).toBe('closed')
    transport.send(say(3))
    expect((await events.endedOf(3)).fault?.phase).toBe('never-sent')
  })
})

describe('the start of a child', () => {
  test.each([
    ['of an unknown command', { command: 'no-such-program-here' }, 'command not found: no-such-program-here'],
    ['of a file that is no program', { command: '/etc/passwd' }, 'not executable: /etc/passwd'],
    [
      'in a folder that is not there',
      { cwd: '/no/such/folder' },
      'the working folder /no/such/folder does not exist',
    ],
    ['in a folder that is a file', { cwd: '/etc/passwd' }, 'the working folder /etc/passwd is not a folder'],
    ['with arguments that no system takes', { args: ['a\0b'] }, 'cannot start '],
  ])('%s fails with the cause', async (_, program, message) => {
    const { transport, events } = make('', program)
    const fault = await faultOf(transport.start(never))
    expect(fault).toMatchObject({ reason: 'spawn', phase: 'never-sent' })
    expect(fault?.message).toContain(message)
    expect(events.log).toEqual([])
  })

  test('starts nothing after it was stopped, or when nobody wants it any more', async () => {
    const stopped = make(ECHO)
    stopped.transport.destroy()
    expect((await faultOf(stopped.transport.start(never)))?.reason).toBe('aborted')
    const unwanted = make(ECHO)
    expect((await faultOf(unwanted.transport.start(AbortSignal.abort())))?.reason).toBe('aborted')
    expect([stopped.transport.pid, unwanted.transport.pid]).toEqual([null, null])
  })

  test('ends with what asked for it, and leaves nothing behind', async () => {
    for (const stop of ['close', 'destroy', 'signal'] as const) {
      const control = new AbortController()
      const { transport, mark } = make(ECHO)
      const started = faultOf(transport.start(control.signal))
      if (stop === 'signal') control.abort()
      else await transport[stop]()
      expect((await started)?.reason).toBe('aborted')
      await assertNoneLeft(mark)
    }
  })
})

describe('the stop of a child', () => {
  test('is the end of its input for one that listens to it, without a signal and without events', async () => {
    const script = `process.on('SIGTERM', () => console.log('{"term":1}')); ${ECHO}
      process.stdin.on('end', () => { console.log('{"late":1}'); console.error('bye') })`
    const { transport, events, mark } = await start(script, { ladder: { termMs: 5_000, killMs: 5_000 } })
    transport.send(say(1))
    await events.next('message')
    await Promise.all([transport.close(), transport.close()])
    expect(events.log).toHaveLength(1)
    await assertNoneLeft(mark, 0)
  })

  test('goes on to SIGTERM and then to SIGKILL', async () => {
    const script = `setInterval(() => {}, 1000); process.on('SIGTERM', () => {}); console.log('{"up":1}')`
    const { transport, events, mark } = await start(script)
    await events.next('message')
    const before = performance.now()
    await transport.close()
    expect(performance.now() - before).toBeGreaterThan(QUICK.termMs + QUICK.killMs - 50)
    expect(events.log).toHaveLength(1)
    await assertNoneLeft(mark, 0)
  })

  test('ends grandchildren whose parent left at the end of its input', async () => {
    const { transport, mark } = await start('', shell('sleep 60 >/dev/null 2>&1 & cat >/dev/null'))
    await transport.close()
    await assertNoneLeft(mark, 0)
  })

  test('at once leaves nothing of the group', async () => {
    const { transport, events, mark } = await start('', shell('sleep 60 & sleep 60 & echo "{}"; wait'))
    await events.next('message')
    const { pid } = transport
    transport.destroy()
    transport.destroy()
    await transport.close()
    await waitForExit(pid as number)
    await assertNoneLeft(mark)
    expect(events.log).toHaveLength(1)
  })
})
