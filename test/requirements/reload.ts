import type { Requirement } from '../requirements.js'

const RELOAD = 'promise P9: a reload touches only what changed'

/** Another configuration while the gateway runs. */
export const RELOAD_ROWS: readonly Requirement[] = [
  {
    id: 'M151',
    source: RELOAD,
    behaviour:
      'A valid change adds, removes and changes servers, says which, and leaves the others their process and session, their calls under way, their counters and what is kept of them; clients are told of changed lists.',
  },
  {
    id: 'M152',
    source: RELOAD,
    behaviour: 'One faulty entry: nothing changes, every fault is told, status says so.',
  },
  {
    id: 'M153',
    source: RELOAD,
    behaviour:
      'Every client object is made before anything changes; a failure in the middle leaves the old generation whole.',
  },
  {
    id: 'M154',
    source: RELOAD,
    behaviour:
      'A server that never worked keeps its history while its entry is the same, and is gone when that is removed.',
  },
  {
    id: 'M155',
    source: RELOAD,
    behaviour: '1,000 calls across 100 reloads: no unknown tool of a server that is in both.',
  },
  {
    id: 'M156',
    source: RELOAD,
    behaviour:
      'Calls under way finish on the old instance, which is then really gone; what was removed says that it was.',
  },
  {
    id: 'M157',
    source: RELOAD,
    behaviour: 'A changed server that does not start does not replace the one that serves.',
  },
  {
    id: 'M158',
    source: RELOAD,
    behaviour: 'What takes long on the old instance, or hangs there, does not delay the reload.',
  },
  {
    id: 'M159',
    source: RELOAD,
    behaviour:
      'Reloads are applied one at a time, each state once; of those that come meanwhile, the last one wins.',
  },
  {
    id: 'M160',
    source: RELOAD,
    behaviour:
      'The config and a file that it refers to, saved together, are taken over in one step, without a warning.',
  },
  {
    id: 'M161',
    source: RELOAD,
    behaviour: 'Effective values decide: writing out a default changes nothing.',
  },
  {
    id: 'M162',
    source: RELOAD,
    behaviour:
      'A file that is half written, gone or unreadable leaves the old configuration and is told; a good one after it is taken over, however it is saved.',
  },
  {
    id: 'M163',
    source: RELOAD,
    behaviour: 'A missing variable is told with server, key and name; nothing of the rest is applied.',
  },
  {
    id: 'M164',
    source: RELOAD,
    behaviour:
      'Where files cannot be watched they are looked at; a change is told once, and no call waits for it.',
  },
  { id: 'M165', source: RELOAD, behaviour: 'After a failed reload a second one with a good config works.' },
  {
    id: 'M166',
    source: RELOAD,
    behaviour: 'Nothing that tells of a change shows a secret.',
  },
  {
    id: 'CFG-VIEW',
    source: RELOAD,
    behaviour:
      'What is configured can be read from the gateway that runs, every default written out and no secret shown, with a hash.',
  },
  {
    id: 'RLD-HUP',
    source: RELOAD,
    behaviour: 'SIGHUP reads the config again; that of a closed terminal stops the gateway.',
  },
  {
    id: 'RLD-FILES',
    source: RELOAD,
    behaviour: 'Files that the config refers to are watched too; a changed secret reloads its server alone.',
  },
  {
    id: 'RLD-EVENTS',
    source: RELOAD,
    behaviour: 'Each configuration that is taken over or refused is an event.',
  },
  {
    id: 'RLD-LISTEN',
    source: RELOAD,
    behaviour:
      'A changed address is opened before the old one is closed; one that cannot be opened changes nothing.',
  },
  {
    id: 'F61',
    source: RELOAD,
    behaviour: 'The config file is half written: the old one stays until it is good.',
  },
  {
    id: 'F62',
    source: RELOAD,
    behaviour:
      'A reload changes 1 of 20 servers under load: the others stay as they are, and no call fails, at the changed one neither.',
  },
  {
    id: 'F63',
    source: RELOAD,
    behaviour: '100 reloads in 10 s: each state is taken over once, and nothing is kept.',
  },
]
