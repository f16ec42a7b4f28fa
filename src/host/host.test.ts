import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../model/index.js'
import type { HttpFault, HttpHandler } from '../runtime/ports.js'
import { nodeHost } from './index.js'
import { childEnvironment } from './spawner.js'

const { clock, random, dialer } = nodeHost()

describe('the clock', () => {
  test.each([Number.POSITIVE_INFINITY, 3e9, LIMITS.timerMs + 1])(
    'does not fire at once for a delay of %d',
    async ms => {
      let fired = false
      const timer = clock.after(ms, () => {
        fired = true
      })
      await new Promise(resolve => setTimeout(resolve, 30))
      timer.cancel()
      expect(fired).toBe(false)
    },
  )

  test('fires once, and never after it was cancelled', async () => {
    const fired: string[] = []
    clock.after(5, () => fired.push('kept'))
    clock.after(5, () => fired.push('cancelled')).cancel()
    clock.after(-1, () => fired.push('overdue'))
    await expect.poll(() => fired.length).toBe(2)
    expect(fired.sort()).toEqual(['kept', 'overdue'])
  })
})

test('tokens are hex of the wanted length, and no two are the same', () => {
  const tokens = Array.from({ length: 50 }, () => random.token(16))
  expect(new Set(tokens).size).toBe(50)
  for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{32}$/)
})

test('a child inherits what programs need to run, and no secrets of the gateway', () => {
  const inherited = {
    PATH: '/bin',
    HOME: '/h',
    LC_ALL: 'C',
    XDG_CACHE_HOME: '/c',
    https_proxy: 'p',
    npm_config_registry: 'r',
    NODE_EXTRA_CA_CERTS: 'ca',
    UV_CACHE_DIR: '/u',
    UV_PUBLISH_TOKEN: 'secret',
    AWS_SECRET_ACCESS_KEY: 'secret',
    GITHUB_TOKEN: 'secret',
    NODE_OPTIONS: '--inspect',
  }
  expect(childEnvironment({ OWN: '1', PATH: '/own' }, inherited)).toEqual({
    PATH: '/own',
    HOME: '/h',
    LC_ALL: 'C',
    XDG_CACHE_HOME: '/c',
    https_proxy: 'p',
    npm_config_registry: 'r',
    NODE_EXTRA_CA_CERTS: 'ca',
    UV_CACHE_DIR: '/u',
    OWN: '1',
  })
})

describe('the dialer', () => {
  const GET = { method: 'GET', path: '/', headers: {}, headersTimeoutMs: 0 } as const

  function fault(start: (handler: HttpHandler) => void): Promise<HttpFault> {
    return new Promise((resolve, reject) => {
      const wrong = () => reject(new Error('It was answered.'))
      start({ headers: wrong, data: wrong, end: wrong, fault: resolve })
    })
  }

  async function silentServer() {
    const server = createServer(() => undefined)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const close = () => {
      server.close()
      server.closeAllConnections()
    }
    return { server, origin, close }
  }

  test('tells a request that cannot be made only after it was handed over', async () => {
    const pool = dialer.pool('http://127.0.0.1:9', { connectTimeoutMs: 1_000 })
    let returned = false
    const told = fault(handler => {
      pool.request(
        { ...GET, headers: { 'bad name': 'x' } },
        {
          ...handler,
          fault: found => {
            expect(returned).toBe(true)
            handler.fault(found)
          },
        },
      )
      returned = true
    })
    expect(await told).toMatchObject({ phase: 'never-sent', reason: 'other' })
    pool.destroy()
    const closed = await fault(handler => void pool.request(GET, handler))
    expect(closed).toMatchObject({ phase: 'never-sent', reason: 'aborted' })
  })

  test('gives up on headers that do not come, and fails what is under way when the pool goes', async () => {
    const { server, origin, close } = await silentServer()
    const pool = dialer.pool(origin, { connectTimeoutMs: 1_000 })
    const late = await fault(handler => void pool.request({ ...GET, headersTimeoutMs: 50 }, handler))
    expect(late).toMatchObject({ phase: 'unknown', reason: 'headers-timeout' })
    const asked = new Promise(resolve => server.once('request', resolve))
    const gone = fault(handler => void pool.request(GET, handler))
    await asked
    pool.destroy()
    expect(await gone).toMatchObject({ phase: 'unknown', reason: 'aborted' })
    close()
  })

  test('tells nothing of an exchange that was dropped', async () => {
    const { server, origin, close } = await silentServer()
    const pool = dialer.pool(origin, { connectTimeoutMs: 1_000 })
    let told = 0
    const tell = () => {
      told += 1
    }
    const asked = new Promise<{ destroyed: boolean; once(name: string, fn: (value: unknown) => void): void }>(
      resolve => server.once('request', (_, res) => resolve(res)),
    )
    const exchange = pool.request(GET, { headers: tell, data: tell, end: tell, fault: tell })
    const res = await asked
    const dropped = new Promise(resolve => res.once('close', resolve))
    exchange.abort()
    exchange.abort()
    await dropped
    pool.destroy()
    await new Promise(resolve => setImmediate(resolve))
    expect(told).toBe(0)
    close()
  })
})
