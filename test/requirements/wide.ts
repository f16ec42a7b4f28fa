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
]
