import type { Requirement } from '../requirements.js'

const UPDATES = 'promise P7: changes are told to whoever asked, and to nobody else'
const LEGACY_RESOURCES = 'MCP 2025-11-25 server/resources'
const LISTEN = 'MCP 2026-07-28 basic/patterns/subscriptions'

/** What clients are told about changes of what the servers offer. */
export const CATALOG: readonly Requirement[] = [
  { id: 'D55', source: UPDATES, behaviour: 'resources/updated is forwarded to subscribers only.' },
  {
    id: 'SUB1',
    source: LEGACY_RESOURCES,
    behaviour:
      'A client subscribes to a resource under its public URI and is told about it under that URI, in the form of its era, until it unsubscribes or its session or stream ends.',
  },
  {
    id: 'SUB2',
    source: UPDATES,
    behaviour: 'The subscriptions of one client are bounded in number and in length, with a clear error.',
  },
  {
    id: 'SUB3',
    source: UPDATES,
    behaviour:
      'A server is asked once for each resource, however many clients follow it, and told when nobody does any more.',
  },
  {
    id: 'SUB4',
    source: LISTEN,
    behaviour:
      'A subscription that a server does not offer is an error for a session and left out of the acknowledgement of a stream.',
  },
  {
    id: 'SUB5',
    source: UPDATES,
    behaviour:
      'Subscriptions outlive an outage of their server: each is taken up again, and its subscriber told one update.',
  },
  {
    id: 'SUB6',
    source: UPDATES,
    behaviour: 'A server with subscribers is not stopped for being idle.',
  },
  {
    id: 'SUB7',
    source: UPDATES,
    behaviour:
      'However fast a server announces changes, a client is told at most once in 5 s for each kind, and calls go on.',
  },
]
