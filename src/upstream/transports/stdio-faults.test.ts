import { afterEach, describe, expect, test } from 'vitest'
import { heldBytes } from '../../../test/kit/memory.js'
import { assertNoneLeft, markedEnvironment } from '../../../test/kit/processes.js'
import { freshFolder } from '../../../test/kit/run-folder.js'
import { TIMEOUTS, TransportRecorder } from '../../../test/kit/transport-recorder.js'
import { verifies } from '../../../test/kit/verifies.js'
import { nodeHost } from '../../host/index.js'
import { LIMITS } from '../../model/index.js'
import type { Clock, Host, Spawner } from '../../runtime/ports.js'
import type { Transport } from '../transport.js'
import { createStdioTransport } from './stdio.js'

const open: Transport[] = []

afterEach(() => {
  for (const transport of open.splice(0)) transport.destroy()
})

async function start(script: string, host: Host = nodeHost()) {
  const events = new TransportRecorder()
  const mark = freshFolder('stdio')
  const env = { ...markedEnvironment(), TEST_MARK: mark }
  const spec = { kind: 'stdio' as const, command: '/bin/sh', args: ['-c', script], env }
  const transport = createStdioTransport(host, spec, TIMEOUTS, events)
  open.push(transport)
  await transport.start(new AbortController().signal)
  return { transport, events, mark }
}

const node = (script: string) => `exec '${process.execPath}' -e "${script.replaceAll('"', '\\"')}"`
const say = (id: number) => ({ id, bytes: Buffer.from(`{"jsonrpc":"2.0","id":${id},"method":"m"}`) })

verifies(
  ['I106'],
  'a child that closed its input and lives is recycled; what it was sent then never reached it',
  async () => {
    const { transport, events, mark } = await start('exec 0<&-; echo "{}"; while :; do sleep 1; done')
    await events.next('message')
    transport.send(say(1))
    transport.send(say(2))
    const { fault } = await events.next('closed')
    expect(fault).toMatchObject({ reason: 'stdin', phase: 'unknown' })
    expect(events.all('ended').map(({ id, fault: found }) => [id, found?.phase])).toEqual([
      [1, 'never-sent'],
      [2, 'never-sent'],
    ])
    await assertNoneLeft(mark)
  },
)

verifies(['I106'], 'what is sent while the end is being told was never sent either', async () => {
  const { transport, events } = await start('exec 0<&-; echo "{}"; while :; do sleep 1; done')
  await events.next('message')
  const told: [id: number | null, phase: string | undefined][] = []
  events.ended = (id, fault) => {
    told.push([id, fault?.phase])
    if (id < 4) transport.send(say(id + 1))
  }
  const closed = events.closed.bind(events)
  events.closed = fault => {
    told.push([null, fault.phase])
    closed(fault)
  }
  transport.send(say(1))
  await events.next('closed')
  expect(told).toEqual([...[1, 2, 3, 4].map(id => [id, 'never-sent']), [null, 'unknown']])
})

verifies(['I106'], 'a child that took a request and then closed its input may have run it', async () => {
  const { transport, events } = await start('read line; exec 0<&-; echo "{}"; while :; do sleep 1; done')
  transport.send(say(1))
  await events.next('message')
  transport.send(say(2))
  await events.next('closed')
  expect(events.all('ended').map(({ id }) => id)).toEqual([2])
})

test('a child that closes its output and then exits is said to have exited, also by a gateway that was busy meanwhile', async () => {
  const real = nodeHost()
  const busy: Spawner = {
    spawn: (request, events) =>
      real.spawner.spawn(request, {
        ...events,
        stdoutEnd: () => {
          events.stdoutEnd()
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400)
        },
      }),
  }
  const { events } = await start('exec 1>&-; sleep 0.05; exit 7', { ...real, spawner: busy })
  const { fault } = await events.next('closed')
  expect(fault).toMatchObject({ reason: 'exit', message: 'exited with code 7' })
})

verifies(['I106'], 'a child that closed its output and lives is recycled', async () => {
  const { events, mark } = await start('exec 1>&-; while :; do sleep 1; done')
  expect((await events.next('closed')).fault).toMatchObject({ reason: 'eof', message: 'closed its output' })
  await assertNoneLeft(mark)
})

test('a child that does not read its input is recycled, and says so; what was never written is told apart', async () => {
  const real = nodeHost()
  // Half a minute is a tenth of a second here.
  const clock: Clock = {
    ...real.clock,
    now: () => real.clock.now() * 300,
    after: (ms, fn) => real.clock.after(ms >= 10_000 ? ms / 300 : ms, fn),
  }
  const { transport, events, mark } = await start('echo "{}"; while :; do sleep 1; done', { ...real, clock })
  await events.next('message')
  transport.send({ id: 1, bytes: Buffer.from(`{"x":"${'y'.repeat(900_000)}"}`) })
  transport.send(say(2))
  const { fault } = await events.next('closed')
  expect(fault).toMatchObject({
    reason: 'stdin',
    message: `has not read its input for ${LIMITS.stdinStuckMs / 1_000} s`,
  })
  expect(events.all('ended').map(({ id, fault: found }) => [id, found?.phase])).toEqual([[2, 'never-sent']])
  await assertNoneLeft(mark)
})

describe('a line beyond the bound', () => {
  /** Prints a line of so many megabytes between these two texts, then another one. */
  const printing = (head: string, megabytes: number, tail: string) =>
    node(`const part = 'x'.repeat(1 << 20); let left = ${megabytes}
      const next = () => left-- > 0 ? process.stdout.write(part, next) : process.stdout.write('${tail}')
      process.stdout.write('${head}', next); process.stdin.resume()`)

  test('fails its request as soon as it is seen, also without an end, and is not held', async () => {
    const { events } = await start(printing('{"jsonrpc":"2.0","id":7,"result":{"a":"', 200, ''))
    const before = heldBytes()
    const { id, fault } = await events.next('ended')
    expect([id, fault?.reason, fault?.phase]).toEqual([7, 'too-large', 'unknown'])
    // Counted again with each further length of the bound.
    for (let time = 1; time <= 11; time += 1) {
      await events.next('noise', time)
      expect(heldBytes() - before).toBeLessThan(LIMITS.upstreamMessageBytes / 8)
    }
    expect(events.all('ended')).toHaveLength(1)
  })

  test('fails its request at its end where the id stands there', async () => {
    const tail = '"},"jsonrpc":"2.0","id":7}\\\\n{"after":1}\\\\n'
    const { events } = await start(printing('{"result":{"a":"', 20, tail))
    expect((await events.next('message')).text).toBe('{"after":1}')
    expect(events.all('ended').map(({ id, fault }) => [id, fault?.reason])).toEqual([[7, 'too-large']])
    expect(events.all('noise')).toEqual([])
  })
})

test('a flood on stderr neither blocks the child nor drowns its messages', async () => {
  const { transport, events } = await start(
    node(`const flood = 'y\\\\n'.repeat(32768); let n = 0
      const more = () => n++ < 800 ? process.stderr.write(flood, more) : console.log('{"done":1}')
      process.stdin.once('data', () => console.log('{"answer":1}')); more()`),
  )
  transport.send(say(1))
  await events.until(() => events.all('message').length === 2, 20_000)
  expect(events.all('stderr').length).toBeLessThan(5_000)
})
