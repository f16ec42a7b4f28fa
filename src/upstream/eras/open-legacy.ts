import type { Bytes, Outcome } from '../../model/index.js'
import { GatewayError, hasVersionHeader, LEGACY_VERSIONS, NEWEST_LEGACY } from '../../model/index.js'
import { notificationMessage, parseAt } from '../../wire/index.js'
import type { UpstreamConnection } from '../connection.js'
import { violation } from '../faults.js'
import { type Opening, resultOf } from '../opening.js'
import { readInitializeResult } from './handshake.js'
import { legacyCodec } from './legacy.js'

export interface LegacyOptions {
  readonly upstream: string
  readonly capabilities: Bytes
  readonly clientInfo: { readonly name: string; readonly version: string }
  /** The version to offer; the newest when the config pins none. */
  readonly version?: string
}

/** `initialize` and `initialized`. @throws GatewayError when the server refuses or answers nonsense */
export async function openLegacy(opening: Opening, options: LegacyOptions): Promise<UpstreamConnection> {
  const { upstream } = options
  opening.connection.speak(legacyCodec)
  const outcome = await opening.ask('initialize', {
    protocolVersion: options.version ?? NEWEST_LEGACY,
    capabilities: parseAt(options.capabilities, { start: 0, end: options.capabilities.length }),
    clientInfo: options.clientInfo,
  })
  if (opening.isFinished) throw violation(upstream, 'it answered server/discover in the meantime')
  refuseUnanswered(upstream, outcome)
  const handshake = readInitializeResult(resultOf(outcome))
  if (!handshake) throw violation(upstream, 'initialize was answered without a protocolVersion')
  const { protocolVersion } = handshake
  if (!LEGACY_VERSIONS.includes(protocolVersion)) {
    throw violation(
      upstream,
      `it speaks protocol version ${JSON.stringify(protocolVersion)}, which is not known here`,
    )
  }
  opening.connection.shook(handshake)
  opening.transport.useProtocolVersion(hasVersionHeader(protocolVersion) ? protocolVersion : null)
  opening.connection.notify(notificationMessage('notifications/initialized', null))
  opening.transport.openNotificationStream()
  return opening.finish()
}

function refuseUnanswered(upstream: string, outcome: Outcome | null): void {
  if (outcome?.kind === 'answered') {
    if ('result' in outcome.reply) return
    const error = parseAt(outcome.reply.error, { start: 0, end: outcome.reply.error.length }) as {
      message?: unknown
    }
    const reason = `initialize was refused: ${String(error.message)}`
    throw new GatewayError('UPSTREAM_UNAVAILABLE', `${upstream}: ${reason}.`, {
      upstream,
      reason,
      phase: 'rejected',
    })
  }
  if (outcome && 'error' in outcome) throw outcome.error
}
