import { ENTRY_PROOFS } from './entry-proofs.js'
import { GATEWAY_PROOFS } from './gateway-proofs.js'
import { OFFER_PROOFS } from './offer-proofs.js'
import type { Proof } from './proof.js'
import { SUPERVISION_PROOFS } from './supervision-proofs.js'
import { TIMEOUT_PROOFS } from './timeout-proofs.js'

/** Every option with the test that fails if it is ignored. Who adds an option adds its proof to one of these lists. */
export const PROOFS: readonly Proof[] = [
  ...ENTRY_PROOFS,
  ...GATEWAY_PROOFS,
  ...OFFER_PROOFS,
  ...SUPERVISION_PROOFS,
  ...TIMEOUT_PROOFS,
]

/**
 * Options whose proof is a test elsewhere: `FILE: TITLE`, as it stands there. For what only the whole command can
 * show; an option with a proof above needs no entry.
 */
const RELOAD = 'test/acceptance/reload.test.ts'

export const CITED: Readonly<Record<string, string>> = {
  'server.holdfast.exclusive': `${RELOAD}: ends an exclusive server before its new version starts`,
  'gateway.defaults.exclusive': `${RELOAD}: ends an exclusive server before its new version starts`,
  'server.holdfast.onUpdateFailure': `${RELOAD}: replaces the old version where that is wanted`,
  'gateway.defaults.onUpdateFailure': `${RELOAD}: replaces the old version where that is wanted`,
}
