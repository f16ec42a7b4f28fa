import type { Requirement } from '../requirements.js'

const NETWORK = 'promises P1 and P4: faults of the network'
const HTTP = 'promises P3 and P4: answers over HTTP'
const LISTS = 'promise P1: lists of a faulty server'

const OVER_HTTP = ['http'] as const

/** What servers get wrong at the other end of the wire. F: rows of the fault matrix. J: answers over HTTP. */
export const UPSTREAM: readonly Requirement[] = [
  {
    id: 'F28',
    source: NETWORK,
    behaviour: 'A refused connection was sent nothing, and is said to be refused.',
  },
  {
    id: 'F29',
    source: NETWORK,
    behaviour: 'A name that is not known is asked for again with the next try, and a new address is used.',
  },
  {
    id: 'F30',
    source: NETWORK,
    behaviour: 'A SYN that nobody answers is given up after the connect timeout.',
  },
  {
    id: 'F31',
    source: NETWORK,
    behaviour: 'A half-open connection is found by the idle rule of a request, and its socket is dropped.',
  },
  {
    id: 'F32',
    source: NETWORK,
    behaviour: 'A reset in the middle of an answer stream leaves the outcome of a call unknown.',
    transports: OVER_HTTP,
  },
  {
    id: 'F33',
    source: NETWORK,
    behaviour:
      'So does its clean end; a stream whose events were numbered is first taken up again, in bounded steps.',
    transports: OVER_HTTP,
  },
  {
    id: 'F34',
    source: NETWORK,
    behaviour:
      'Headers that have begun are complete within 20 s, a body that drips is ended by the idle rule of the request; both free place and socket.',
  },
  {
    id: 'F35',
    source: NETWORK,
    behaviour:
      'A certificate that is expired, for another name or not trusted, and a server that does not speak TLS, are misconfigured, each with its reason.',
  },
  {
    id: 'F40',
    source: HTTP,
    behaviour: 'A 403 is an error of that call, with the scope that is wanted; the server stays in service.',
  },
  {
    id: 'F41',
    source: HTTP,
    behaviour:
      'A lost session is opened anew once for all who found out, and none of their calls may have run.',
    eras: ['legacy'],
    transports: OVER_HTTP,
  },
  {
    id: 'F42',
    source: HTTP,
    behaviour:
      'Refusals of the newer era are asked in the older one once; an address that refuses both, or has pages for people, backs off with that reason.',
  },
  {
    id: 'F43',
    source: HTTP,
    behaviour:
      'Redirects are followed within the origin, with their method and three at most; nothing goes to another origin.',
  },
  {
    id: 'F44',
    source: HTTP,
    behaviour: 'Packed bodies, false lengths and broken chunks cost their own call an answer, and no memory.',
  },
  {
    id: 'F45',
    source: LISTS,
    behaviour: 'Cursors that repeat or never end keep the list as it was; an empty cursor is followed.',
  },
  {
    id: 'F46',
    source: LISTS,
    behaviour: 'Too many tools keep a list out; odd schemas are carried, and nothing in them is fetched.',
  },
  { id: 'F47', source: LISTS, behaviour: 'One invalid tool among fifty costs only itself.' },
  {
    id: 'F48',
    source: LISTS,
    behaviour:
      'A burst of announced changes is fetched twice at most, a change during a fetch is not missed, and clients are told only of real ones.',
  },
  {
    id: 'J118',
    source: HTTP,
    behaviour: 'A 5xx to the first contact leaves starting for backoff with that reason.',
  },
  { id: 'J119', source: HTTP, behaviour: 'A 5xx to a tool call is outcome unknown, and is not sent again.' },
  {
    id: 'J120',
    source: HTTP,
    behaviour:
      'Retry-After is read in every form, clamped to 100 ms and 5 min, and handed on with the failure.',
  },
  {
    id: 'J121',
    source: HTTP,
    behaviour: 'A 429 is an overload that provably did not run, also where its body holds a JSON-RPC error.',
  },
  {
    id: 'J122',
    source: HTTP,
    behaviour: 'A 401 to the handshake waits for a sign-in, and says what the server wants.',
  },
  {
    id: 'J123',
    source: HTTP,
    behaviour: "A 401 to one user's own credentials does not mark the server for other users.",
  },
  { id: 'J124', source: HTTP, behaviour: 'A 403 for want of a scope names the scope and is no death.' },
  {
    id: 'J125',
    source: HTTP,
    behaviour: 'All requests of a lost session are told that they did not run, and share one new session.',
    eras: ['legacy'],
    transports: OVER_HTTP,
  },
  {
    id: 'J126',
    source: HTTP,
    behaviour:
      'A lost session is recognised by a table of status and words; other words are ordinary errors.',
    eras: ['legacy'],
    transports: OVER_HTTP,
  },
  {
    id: 'J127',
    source: HTTP,
    behaviour:
      'A 404 to the stream of a live session is its loss; 405, and a plain 404 to the first GET, are not.',
    eras: ['legacy'],
    transports: OVER_HTTP,
  },
  {
    id: 'J128',
    source: HTTP,
    behaviour: 'A 404 to a server that was never reached is a wrong path: misconfigured, with the path.',
  },
  { id: 'J129', source: HTTP, behaviour: 'A page for people with status 200 is no MCP, and never healthy.' },
  {
    id: 'J130',
    source: HTTP,
    behaviour: 'A 202 without an answer, and a stream that is cut before it, leave the outcome unknown.',
  },
  {
    id: 'J131',
    source: HTTP,
    behaviour: 'A redirect to another origin, http for https included, takes no header and no body there.',
  },
  {
    id: 'J132',
    source: HTTP,
    behaviour:
      'Refused, unknown, silent and untrusted are told apart and were never sent; a reset of a connection in use is not.',
  },
  {
    id: 'J133',
    source: HTTP,
    behaviour: 'A success of the wrong shape or id is a breach of the protocol, and its caller is answered.',
  },
]
