import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { createGuard } from './index.js'

const guard = createGuard({
  listen: { host: '192.168.1.5' },
  allowedHosts: ['gateway.internal'],
  allowedOrigins: ['https://app.internal'],
})

function pass(headers: Record<string, string | undefined>): true | { status: number; message: string } {
  let status = 0
  let message = ''
  const res = {
    writeHead: (code: number) => {
      status = code
    },
    end: (body: string) => {
      message = JSON.parse(body).error.message
    },
  }
  const allowed = guard({ headers } as IncomingMessage, res as unknown as ServerResponse)
  return allowed ? true : { status, message }
}

describe('the guard', () => {
  test('lets in whoever names this machine', () => {
    for (const host of [
      'localhost',
      'LOCALHOST:7400',
      '127.0.0.1:1',
      '127.8.8.8:1',
      '[::1]:9',
      '192.168.1.5:7400',
      'gateway.internal',
      'gateway.internal:80',
    ]) {
      expect([host, pass({ host })]).toEqual([host, true])
    }
    for (const origin of [
      'http://localhost:5173',
      'https://127.0.0.1',
      'http://[::1]:1',
      'https://app.internal',
    ]) {
      expect([origin, pass({ host: 'localhost', origin })]).toEqual([origin, true])
    }
    expect(pass({ host: 'localhost', 'sec-fetch-site': 'same-origin' })).toBe(true)
    expect(pass({ host: 'localhost', origin: 'https://app.internal', 'sec-fetch-site': 'cross-site' })).toBe(
      true,
    )
  })

  test('refuses every other name, and says what to configure', () => {
    for (const host of [
      undefined,
      '',
      'evil.example',
      'localhost.',
      '127.0.0.1.',
      '127.0.0.1.evil.example',
      'a@localhost',
      'localhost:1:2',
      '[::1',
      '0.0.0.0',
    ]) {
      expect([host, pass({ host })]).toEqual([
        host,
        { status: 403, message: expect.stringContaining('allowedHosts') },
      ])
    }
    for (const origin of [
      'null',
      '',
      'https://evil.example',
      'http://localhost.',
      'http://localhost.evil.example',
      'http://a@localhost',
      'http://localhost/',
      'file://localhost',
      'http://app.internal',
    ]) {
      expect([origin, pass({ host: 'localhost', origin })]).toEqual([
        origin,
        { status: 403, message: expect.stringContaining('allowedOrigins') },
      ])
    }
    for (const origin of [undefined, 'http://localhost:1']) {
      expect(pass({ host: 'localhost', origin, 'sec-fetch-site': 'cross-site' })).toMatchObject({
        status: 403,
      })
    }
  })
})
