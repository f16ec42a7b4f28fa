import type { Requirement } from '../requirements.js'

const FAULTS = 'the fault matrix'

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
]
