import type { Requirement } from '../requirements.js'

const CACHE = 'promise P7: nothing crosses between identities'
const CONNECTIONS = 'promise P7: connections of single identities'
const BOUNDS = 'promise P6: instances of servers are bounded'

/** Servers of which each identity or session has an instance of its own. */
export const ISOLATION: readonly Requirement[] = [
  {
    id: 'E60',
    source: CACHE,
    behaviour:
      'A server that offers each caller something else: one caller’s names are listed and called by that caller alone, also while the lists are fresh.',
  },
  {
    id: 'E61',
    source: CACHE,
    behaviour:
      'Credentials of an identity go into its own requests; no key, log line, status or snapshot holds them.',
  },
  {
    id: 'E62',
    source: CACHE,
    behaviour:
      'A server that is reached with the one credential of the gateway has one list for everybody, also where it calls that list private.',
  },
  {
    id: 'E63',
    source: CACHE,
    behaviour:
      'A renewed token of the same identity keeps its lists; changed credentials drop them and its connection.',
  },
  {
    id: 'E64',
    source: CACHE,
    behaviour:
      'Two sessions have separate instances of a server that keeps state; the end of one frees its own: lists, connection, child.',
  },
  {
    id: 'E65',
    source: CACHE,
    behaviour:
      'Fetches of two identities that end in any order: every look-up, call and notification is of its own identity.',
  },
  { id: 'E68', source: CACHE, behaviour: 'No identity waits for the slow list of another.' },
  {
    id: 'D57',
    source: BOUNDS,
    behaviour:
      'Instances are bounded: the one that was unused for longest makes room, never one with a call under way, and their number is in status.',
  },
  {
    id: 'F171',
    source: CONNECTIONS,
    behaviour:
      'Status tells who shares a server; with one instance for each session, state survives between calls of one client and is invisible to the others.',
  },
  {
    id: 'F172',
    source: CONNECTIONS,
    behaviour:
      'Twenty first uses at once begin one start for each identity; its failure is told to all of them, and the next try comes after its pause.',
  },
  {
    id: 'F173',
    source: CONNECTIONS,
    behaviour:
      'A caller who leaves while its instance connects leaves no half-open session, child or lock; the next caller connects.',
  },
  {
    id: 'F174',
    source: CONNECTIONS,
    behaviour:
      'The embedding program names the identity of each request; without a name it is refused, and another identity’s session is unknown.',
  },
]
