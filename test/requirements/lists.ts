import type { Requirement } from '../requirements.js'

const CACHE = 'promise P2: one call costs one request, lists are kept'
const SHARED = 'promise P7: what is kept is never shown to somebody else'
const CONNECTIONS = 'promise P2: connections are kept and used again'
const FAULTS = 'the fault matrix'

const WARM = ['stdio', 'http', 'sse'] as const
const BOTH = ['legacy', 'modern'] as const

/** What is kept of what servers offer: for how long, when it is asked for again, who may see it. */
export const LISTS: readonly Requirement[] = [
  {
    id: 'D38',
    source: CACHE,
    behaviour:
      'A cold server is asked for one handshake and one list of each kind; 200 calls after that, in sequence and in parallel, are 200 requests and nothing else.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'D39',
    source: CACHE,
    behaviour:
      'Lists are kept for 300 s, or as configured; what the server says is honoured within that, the least of all pages.',
  },
  {
    id: 'D40',
    source: CACHE,
    behaviour: 'With a TTL of 0 each look asks the server, and looks at the same time share one question.',
  },
  {
    id: 'D41',
    source: CACHE,
    behaviour: 'At an age one tick under the TTL a list is fresh, at the TTL it is old.',
  },
  {
    id: 'D42',
    source: CACHE,
    behaviour: 'Whether a list was fetched again is known from a count, never from two clock readings.',
  },
  { id: 'D43', source: CACHE, behaviour: 'Jumps of the wall clock change the age of nothing.' },
  {
    id: 'D44',
    source: CACHE,
    behaviour: 'A TTL that is no duration is a fault of the config that names the key.',
  },
  {
    id: 'D45',
    source: CACHE,
    behaviour:
      'A list is answered from memory; a person can have it fetched anew, which alone resets its age.',
  },
  {
    id: 'D46',
    source: CACHE,
    behaviour:
      'A failed fetch leaves what was known in use, with the reason; tries have a pause of their own that no look shortens.',
  },
  { id: 'D47', source: CACHE, behaviour: 'An empty list is an answer, not a miss.' },
  { id: 'D48', source: CACHE, behaviour: 'Each kind is kept by itself.' },
  {
    id: 'D49',
    source: CACHE,
    behaviour: 'Announced changes within a moment cost one fetch, a thousand in a second two at most.',
  },
  { id: 'D50', source: CACHE, behaviour: 'A change announced during a fetch leads to one more.' },
  { id: 'D51', source: CACHE, behaviour: 'The late answer to an older question never replaces a newer one.' },
  {
    id: 'D52',
    source: CACHE,
    behaviour:
      'A server that is away stays listed, marked; when it is back, clients are told once of what changed, and of nothing else.',
  },
  {
    id: 'D53',
    source: CACHE,
    behaviour:
      'Where a server that is down is hidden, connected clients are told when it goes and when it comes back.',
    transports: ['stdio', 'http'],
  },
  { id: 'D54', source: CACHE, behaviour: 'Serving a list tells nobody that it changed.' },
  { id: 'D56', source: CACHE, behaviour: 'What was answered cannot be changed by whoever got it.' },
  {
    id: 'D58',
    source: CACHE,
    behaviour: 'The end of a conversation of several rounds is never kept, nor an error, nor a question.',
  },
  {
    id: 'D59',
    source: CACHE,
    behaviour:
      'Results of tools are not kept, but for tools that the configuration names: by what was asked in any order of arguments, types told apart, and never errors.',
  },
  {
    id: 'E66',
    source: SHARED,
    behaviour: 'A hundred who ask at once cost one fetch, whoever gives up meanwhile.',
  },
  {
    id: 'E67',
    source: SHARED,
    behaviour: 'One failed fetch is told to all who waited, without a second round.',
  },
  {
    id: 'F50',
    source: FAULTS,
    behaviour:
      'A tool that is gone between list and call: the answer of the server, and one more fetch of its list.',
    transports: ['stdio', 'http'],
  },
  {
    id: 'CS70',
    source: CONNECTIONS,
    behaviour: 'Calls to one server share one session and one process.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'CS74',
    source: CONNECTIONS,
    behaviour: 'A handshake has a finite time of its own, apart from that of calls.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'CS75',
    source: CONNECTIONS,
    behaviour:
      'A call out of time is answered as timeout with elapsed and budget, the server is told, and its session lives on.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'CS76',
    source: CONNECTIONS,
    behaviour: 'The times configured for one server hold for it on every path and era, and for no other.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'CS77',
    source: CONNECTIONS,
    behaviour: 'Long calls with signs of life are not cut.',
  },
  {
    id: 'CS78',
    source: CONNECTIONS,
    behaviour: 'A server that never serves its notification stream serves calls.',
    transports: ['http'],
  },
  {
    id: 'CS79',
    source: CONNECTIONS,
    behaviour: 'A list of more than a thousand tools is fetched and passed on to its last page.',
    transports: WARM,
    eras: BOTH,
  },
  {
    id: 'CS80',
    source: CONNECTIONS,
    behaviour:
      'The transport is the configured one, or found out by asking, never read from the address; it is shown, and remembered.',
  },
]
