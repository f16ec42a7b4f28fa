import type { Requirement } from '../requirements.js'

const CONFIG = 'promise P9: a bad config takes nothing down'

/** What becomes of a config file, and of what is wrong with it. */
export const CONFIGURATION: readonly Requirement[] = [
  {
    id: 'CFG-EDIT',
    source: CONFIG,
    behaviour:
      'Servers are added to and removed from a config file with comments and formatting kept, the old file backed up, secrets masked in the diff, and nothing written that would be wrong.',
  },
  {
    id: 'CFG-SAVE',
    source: CONFIG,
    behaviour: 'Enabling and disabling change the running gateway alone, or with --save the file too.',
  },
  {
    id: 'CFG-SCHEMA',
    source: CONFIG,
    behaviour: 'Editors get a JSON Schema, made from the options themselves, with the package.',
  },
  {
    id: 'CFG-SIZE',
    source: CONFIG,
    behaviour:
      'A large config is read in about a second, with all its faults, or refused for its size at once.',
  },
]
