import type { Requirement } from '../requirements.js'

const DISK = 'promise P2: lists survive a restart'
const PINS = 'promise P11: a tool that changes behind your back is seen'

/** What is remembered of catalogs on disk, and what is made of it. */
export const CATALOG_DISK: readonly Requirement[] = [
  {
    id: 'E69',
    source: 'promise P7: what is kept is never shown to somebody else',
    behaviour:
      'What is kept on disk holds no lists of one caller alone; a spoilt file is ignored with a warning.',
  },
  {
    id: 'CAT-SNAPSHOT',
    source: DISK,
    behaviour:
      'The lists of each server outlive the gateway for a day: after a restart they are answered at once, as old, with every server down; calls wait for a start or fail fast. They belong to one server under one identity, hold no secret, and a file that cannot be trusted or a folder that cannot be written costs one line in the log.',
  },
  {
    id: 'CAT-PIN-WARN',
    source: PINS,
    behaviour:
      'A tool or prompt that is not described as it was at first sight stays usable, is told once with what changed, and stands in status until approved; a restart or another token changes nothing in that.',
  },
  {
    id: 'CAT-PIN-ENFORCE',
    source: PINS,
    behaviour:
      'With `pin: enforce` a changed or new tool is neither listed nor called before a person approves it, after a restart neither, and pins that are lost hold everything.',
  },
  {
    id: 'CAT-INVISIBLE',
    source: PINS,
    behaviour:
      'Invisible characters in a definition are told in log and status, whatever `pin` says; the bytes stay as they are.',
  },
  {
    id: 'CAT-LOOKALIKE',
    source: PINS,
    behaviour:
      'Two public names that are the same but for case, width and invisible characters are told in log and status.',
  },
]
