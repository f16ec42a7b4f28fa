import { randomBytes } from 'node:crypto'
import type { Random } from '../runtime/ports.js'

export const nodeRandom: Random = {
  next: () => Math.random(),
  token: bytes => randomBytes(bytes).toString('hex'),
}
