import type { Requirement } from '../requirements.js'

const DEATH = 'promises P3 and P4: death of a server'
const HEALTH = 'promise P12: health checks'
const FAULTS = 'the fault matrix'
const SLEEP = 'promise P5: servers that sleep'
const RETRY = 'promise P4: retries'

/** What happens when servers die, hang, sleep and come back. */
export const SUPERVISION: readonly Requirement[] = [
  {
    id: 'I101',
    source: DEATH,
    behaviour:
      'A program killed while idle is noticed within a second without any call, restarted, and the next call reaches the new process.',
    transports: ['stdio'],
  },
  {
    id: 'I102',
    source: DEATH,
    behaviour:
      'A program killed in the middle of a call: one answer within 100 ms, outcome unknown for a tool, a transparent retry for a read.',
  },
  {
    id: 'I103',
    source: DEATH,
    behaviour: 'A call that comes between the death and its detection is answered by the new process.',
    transports: ['stdio'],
  },
  {
    id: 'I104',
    source: DEATH,
    behaviour:
      'A program that dies in its handshake is reported with exit code and last words, and works once it is mended, without a restart of the gateway.',
    transports: ['stdio'],
  },
  { id: 'I105', source: DEATH, behaviour: 'A quiet exit with code 0 is a death.', transports: ['stdio'] },
  {
    id: 'I106',
    source: DEATH,
    behaviour:
      'A program that closes its output or its input and lives on is replaced; the gateway survives.',
    transports: ['stdio'],
  },
  {
    id: 'I107',
    source: DEATH,
    behaviour: 'Five calls in flight at a death: five answers, one restart.',
    transports: ['stdio'],
  },
  {
    id: 'I108',
    source: DEATH,
    behaviour: 'A crash loop ends in quarantine, where tries go on for ever and a call may begin one.',
  },
  { id: 'I109', source: DEATH, behaviour: 'A healthy run forgives earlier failures.' },
  {
    id: 'I110',
    source: DEATH,
    behaviour: 'A server that fails at boot and works later becomes ready by itself.',
  },
  {
    id: 'I111',
    source: DEATH,
    behaviour: 'An error that a tool or a server answers is no death and no mark against the server.',
  },
  {
    id: 'I112',
    source: DEATH,
    behaviour: 'A cancelled call is neither retried nor a mark against the server.',
  },
  {
    id: 'I113',
    source: DEATH,
    behaviour:
      'A stopped program is found by its health checks and replaced; one that is busy is left alone.',
    transports: ['stdio'],
  },
  {
    id: 'I115',
    source: DEATH,
    behaviour: 'A death that shows on a list or a read is handled as one that shows on a call.',
  },
  { id: 'I116', source: DEATH, behaviour: 'When the second try fails too, the error tells both causes.' },
  {
    id: 'I117',
    source: DEATH,
    behaviour: 'A blip does not change the lists; a server that comes back with other tools announces them.',
  },
  { id: 'K134', source: HEALTH, behaviour: 'Checks use the real address with path, query and headers.' },
  { id: 'K135', source: HEALTH, behaviour: 'Checks never open a session.' },
  {
    id: 'K136',
    source: HEALTH,
    behaviour: 'Only an answer of the protocol makes a server healthy; 429 is no fault, 401 wants a sign-in.',
  },
  {
    id: 'K137',
    source: HEALTH,
    behaviour: 'Traffic that succeeds makes checks unnecessary; traffic that fails makes one come soon.',
  },
  {
    id: 'K138',
    source: HEALTH,
    behaviour:
      'Three failed checks in a row make a server unhealthy, one does not; the first success after a start is enough.',
  },
  { id: 'K140', source: HEALTH, behaviour: 'A slow server is degraded, listed and callable.' },
  {
    id: 'K141',
    source: HEALTH,
    behaviour:
      'An open breaker refuses real calls; neither refused credentials nor other 4xx answers open it.',
  },
  { id: 'K143', source: HEALTH, behaviour: 'Checks of many servers are spread.' },
  {
    id: 'K144',
    source: HEALTH,
    behaviour: 'A remote that comes back is in use within a check, or with the next call.',
  },
  {
    id: 'L145',
    source: SLEEP,
    behaviour: 'A remote that is away for any time keeps its entry and works again without a restart.',
  },
  { id: 'L146', source: SLEEP, behaviour: 'Nothing but a call wakes a remote that scales to zero.' },
  {
    id: 'L147',
    source: SLEEP,
    behaviour: 'A call to a sleeping remote is held while it wakes; a hundred wake it once.',
  },
  { id: 'L148', source: SLEEP, behaviour: 'Errors of a remote that is waking up are waited out.' },
  {
    id: 'L149',
    source: SLEEP,
    behaviour: 'A lazy program is stopped when idle, stays listed, and is started by the next call.',
    transports: ['stdio'],
  },
  {
    id: 'Q189',
    source: RETRY,
    behaviour: 'Only what was never sent, refused and cured, or harmless is tried again, within one budget.',
  },
  {
    id: 'H94',
    source: HEALTH,
    behaviour: 'What an attempt of the past reports changes nothing of a later one.',
  },
  {
    id: 'H95',
    source: HEALTH,
    behaviour: 'That a sign-in is wanted outlives checks, calls and time; a person ends it.',
  },
  { id: 'K142', source: HEALTH, behaviour: 'A stall of the gateway itself is no verdict about any server.' },
  {
    id: 'F36',
    source: FAULTS,
    behaviour: 'A 5xx on a call makes its outcome unknown; the call is not repeated.',
  },
  {
    id: 'F37',
    source: FAULTS,
    behaviour: 'Retry-After holds for every caller of the server, within bounds.',
  },
  { id: 'F56', source: FAULTS, behaviour: 'Deadlines move by the time for which the gateway was stopped.' },
  {
    id: 'F68',
    source: FAULTS,
    behaviour: 'A hundred calls to a server that sleeps start it once; so many wait, the others are told.',
  },
  {
    id: 'F70',
    source: FAULTS,
    behaviour: 'Numbers, lone surrogates and the order of keys pass as they were written.',
  },
  {
    id: 'F71',
    source: FAULTS,
    behaviour: 'Whichever one operation of the machine fails, the promises hold.',
  },
  {
    id: 'F72',
    source: FAULTS,
    behaviour: 'Seeded random walks of all faults break no promise; a failing seed is printed.',
  },
]
