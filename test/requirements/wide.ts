import type { Requirement } from '../requirements.js'

const FAULTS = 'the fault matrix'
const STATUS = 'promise P12: status says what, since when, why, and when the next try is'
const DEATH = 'promises P3 and P4: death of a server'
const HEALTH = 'promise P12: health checks'
const SLEEP = 'promise P5: servers that sleep'

/** What holds when the fault is not one server's: the clock, the network, all servers at once. */
export const WIDE: readonly Requirement[] = [
  {
    id: 'F57',
    source: FAULTS,
    behaviour: 'A jump of the wall clock changes timestamps and nothing else; waits are told as they are.',
  },
  {
    id: 'F66',
    source: FAULTS,
    behaviour:
      'When most servers fail at the same moment none of them is condemned for it, the first to fail included, and the lists stay.',
  },
  {
    id: 'F67',
    source: FAULTS,
    behaviour:
      'With every server down at the start the gateway is ready at once, its lists are empty and say why, and all heals by itself.',
  },
  {
    id: 'F69',
    source: FAULTS,
    behaviour:
      'Clients of either era get the full lists of a server that has only one of them, and can use it.',
    eras: ['legacy', 'modern'],
  },
  {
    id: 'F49',
    source: FAULTS,
    behaviour:
      'Names that are equal, or differ by case or look alike, are told apart the same way in the same order after every restart.',
  },
  {
    id: 'H90',
    source: STATUS,
    behaviour: 'Traffic moves the status: a call or a list that fails, and the first success after it.',
  },
  {
    id: 'H96',
    source: STATUS,
    behaviour: 'Of a server that wants a sign-in and cannot be reached any more, status tells both.',
  },
  {
    id: 'I114',
    source: DEATH,
    behaviour:
      'A server that cannot be closed is ended by the ladder, and delays neither the others nor a stop.',
  },
  {
    id: 'K139',
    source: HEALTH,
    behaviour:
      'Failures that are mended at once count too, a success begins anew, and each death is recorded.',
  },
  {
    id: 'L150',
    source: SLEEP,
    behaviour:
      'After a sleep of the machine and in another network, idle connections are not used again, nobody is condemned, and everybody serves.',
  },
  {
    id: 'F38',
    source: 'the fault matrix',
    behaviour:
      'Credentials that are refused in the middle of a hundred calls: each is told so, none is sent twice, the server is left alone until a person acts.',
    transports: ['http', 'sse'],
  },
  {
    id: 'STOP-ROUND',
    source: 'promise P8: a stop answers everybody',
    behaviour: 'A call that waits for its client between two rounds is answered when the gateway stops.',
    transports: ['stdio', 'http'],
  },
  {
    id: 'STOP-BRIDGE',
    source: 'promise P8: a stop answers everybody',
    behaviour: 'The bridge to a running gateway lets calls end, or answers them, before it ends itself.',
    transports: ['stdio'],
  },
  {
    id: 'STOP-COMMAND',
    source: 'promise P10: nothing is left behind',
    behaviour:
      'A command that is interrupted ends its servers first, stubborn ones too; a second signal kills them.',
    transports: ['stdio'],
  },
  {
    id: 'DEATH-ONCE',
    source: 'promises P3 and P4: death of a server',
    behaviour: 'The death of a server with calls under way is one failure, and opens no breaker.',
    transports: ['stdio', 'sse'],
  },
]
