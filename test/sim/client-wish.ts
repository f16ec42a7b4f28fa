import type { Dice } from './dice.js'
import { type Member, STEADY } from './fleet.js'
import type { Retry } from './history.js'

/** One thing that a client asks for. */
export interface Wish {
  readonly method: string
  readonly params: Record<string, unknown>
  readonly nonce: string
  readonly upstream: string | null
  readonly tool: string | null
  readonly retry: Retry
  readonly wantsProgress: boolean
  /** Virtual ms within which there must be an answer. */
  readonly withinMs: number
}

export interface Patience {
  /** Most that a call may take, holding and starting included. */
  readonly callMs: number
  /** The same with questions to a client that may not answer. */
  readonly askMs: number
}

/** Lists are answered from what is known; only right after the boot they wait a moment. */
const LIST_MS = 1_000

const WEIGHTS = { tool: 70, list: 10, read: 7, prompt: 5, unknown: 3, ping: 3 } as const
const TOOL_WEIGHTS = {
  act: 25,
  again: 8,
  look: 8,
  slow: 12,
  chatty: 10,
  grumble: 5,
  ask: 8,
  flicker: 4,
} as const

export function drawWish(dice: Dice, fleet: readonly Member[], nonce: string, patience: Patience): Wish {
  const member = dice.chance(0.25) ? fleet.find(({ name }) => name === STEADY) : dice.pick(fleet)
  if (!member) throw new Error('a fleet has a steady server')
  const upstream = member.name
  const withinMs = patience.callMs
  switch (dice.weighted(WEIGHTS)) {
    case 'tool': {
      const tool = dice.weighted(TOOL_WEIGHTS)
      return callOf(member, tool, nonce, tool === 'ask' ? patience.askMs : withinMs)
    }
    case 'list': {
      const method = dice.pick(['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list'])
      return about(method, {}, nonce, LIST_MS)
    }
    case 'read':
      return readOf(member, nonce, withinMs)
    case 'prompt': {
      const params = { name: `${upstream}__greet`, arguments: { nonce } }
      return { ...about('prompts/get', params, nonce, withinMs), upstream }
    }
    case 'unknown':
      return about('tools/call', { name: 'nobody__has_this', arguments: { nonce } }, nonce, withinMs)
    case 'ping':
      return about('ping', {}, nonce, 100)
  }
}

export function readOf({ name }: Member, nonce: string, withinMs: number): Wish {
  const params = { uri: `mem://${name}~/doc`, _meta: { nonce } }
  return { ...about('resources/read', params, nonce, withinMs), upstream: name }
}

export function callOf(member: Member, tool: string, nonce: string, withinMs: number): Wish {
  const params = { name: `${member.name}__${tool}`, arguments: { nonce } }
  return {
    ...about('tools/call', params, nonce, withinMs),
    upstream: member.name,
    tool,
    retry: member.repeatable.has(tool) ? 'free' : 'never',
    wantsProgress: tool === 'chatty',
  }
}

function about(method: string, params: Record<string, unknown>, nonce: string, withinMs: number): Wish {
  return { method, params, nonce, upstream: null, tool: null, retry: 'free', wantsProgress: false, withinMs }
}
