import { createSign, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'

/** A certificate and its key, PEM. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

export interface Wanted {
  /** DNS names and IPv4 addresses. */
  readonly names: readonly string[]
  /** From now; default a day ago to a day ahead. */
  readonly fromMs?: number
  readonly toMs?: number
}

const DAY_MS = 24 * 60 * 60_000
const ECDSA_SHA256 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
const COMMON_NAME = [0x06, 0x03, 0x55, 0x04, 0x03]
const BASIC_CONSTRAINTS = [0x06, 0x03, 0x55, 0x1d, 0x13]
const ALTERNATIVE_NAMES = [0x06, 0x03, 0x55, 0x1d, 0x11]

/** One value in DER: tag, length, content. */
function der(tag: number, ...content: (Buffer | readonly number[])[]): Buffer {
  const body = Buffer.concat(content.map(part => Buffer.from(part)))
  const length = body.length
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), body])
  const bytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...bytes]), body])
}

const sequence = (...content: (Buffer | readonly number[])[]) => der(0x30, ...content)

function name(common: string): Buffer {
  return sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, Buffer.from(common)))))
}

function time(at: number): Buffer {
  const text = new Date(at).toISOString().replace(/[-:T]|\.\d+/g, '')
  return der(0x18, Buffer.from(text))
}

function alternative(one: string): Buffer {
  const isAddress = /^\d+(\.\d+){3}$/.test(one)
  return isAddress ? der(0x87, one.split('.').map(Number)) : der(0x82, Buffer.from(one))
}

function extension(id: readonly number[], value: Buffer): Buffer {
  return sequence(id, der(0x04, value))
}

/** An authority that nobody trusts unless told to, made anew by each test that wants one. */
export class TestAuthority {
  readonly cert: string
  readonly #key: KeyObject
  readonly #name = name(`Test Authority ${randomBytes(4).toString('hex')}`)

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    this.#key = privateKey
    const isAuthority = extension(BASIC_CONSTRAINTS, sequence(der(0x01, [0xff])))
    this.cert = this.#sign(this.#name, publicKey, [isAuthority], -DAY_MS, DAY_MS)
  }

  issue({ names, fromMs = -DAY_MS, toMs = DAY_MS }: Wanted): Certificate {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const named = extension(ALTERNATIVE_NAMES, sequence(...names.map(alternative)))
    return {
      cert: this.#sign(name(names[0] ?? 'x'), publicKey, [named], fromMs, toMs),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }
  }

  #sign(
    subject: Buffer,
    key: KeyObject,
    extensions: readonly Buffer[],
    fromMs: number,
    toMs: number,
  ): string {
    const now = Date.now()
    const algorithm = sequence(ECDSA_SHA256)
    const body = sequence(
      der(0xa0, der(0x02, [2])),
      der(0x02, [0x01], randomBytes(8)),
      algorithm,
      this.#name,
      sequence(time(now + fromMs), time(now + toMs)),
      subject,
      key.export({ type: 'spki', format: 'der' }),
      der(0xa3, sequence(...extensions)),
    )
    const signature = createSign('sha256').update(body).sign(this.#key)
    const whole = sequence(body, algorithm, der(0x03, [0], signature))
    const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
    return ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n')
  }
}
