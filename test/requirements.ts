import { CATALOG } from './requirements/catalog.js'
import { CATALOG_DISK } from './requirements/catalog-disk.js'
import { CONFIGURATION } from './requirements/configuration.js'
import { ISOLATION } from './requirements/isolation.js'
import { LISTS as KEPT_LISTS } from './requirements/lists.js'
import { RELOAD_ROWS } from './requirements/reload.js'
import { SUPERVISION } from './requirements/supervision.js'
import { UPSTREAM } from './requirements/upstream.js'
import { WIDE } from './requirements/wide.js'

/**
 * What Holdfast promises, as data: each entry is cited by at least one test through `verifies`, or is owed.
 * A to C and N: behaviour with partial outages and broken configs. CFG: config files. D and E: what is kept of lists,
 * and for whom.
 * CS: connections that are used again. G and H: what operators see. I to L and Q: death, health, sleep and retries.
 * P: rules of the MCP specification. R: stopping. F: rows of the fault matrix.
 */
export interface Requirement {
  readonly id: string
  /** Where it comes from. */
  readonly source: string
  /** One sentence. */
  readonly behaviour: string
  /** Client or server eras for which it has to hold; absent = both, or no matter. */
  readonly eras?: readonly ('legacy' | 'modern')[]
  /** Transports for which it has to hold; absent = all, or no matter. */
  readonly transports?: readonly ('stdio' | 'http' | 'sse')[]
  /** Not built yet, and part of what: an owed requirement has no test. */
  readonly owed?: 'supervision' | 'auth'
}

const LISTS = 'promise P1: lists with partial outages'
const ROUTING = 'promise P1: routing of calls'
const FRONT = 'promise P2: the front does not depend on upstreams'
const TESTING = 'promise P12: a test of one server'
const STATUS = 'promise P12: status says what, since when, why, and when the next try is'
const CONFIG = 'promise P9: a bad config takes nothing down'
const TRANSPORT = 'MCP 2026-07-28 basic/transports/streamable-http'
const BASE = 'MCP 2026-07-28 basic/index'
const LISTEN = 'MCP 2026-07-28 basic/patterns/subscriptions'
const TOOLS = 'MCP 2026-07-28 server/tools'
const CACHING = 'MCP 2026-07-28 server/utilities/caching'
const STOPPING = 'promises P8 and P10: a stop drains, and leaves no process behind'
const FAULTS = 'the fault matrix'
const VERSIONS = 'MCP 2026-07-28 basic/versioning'
const LEGACY_LIFE = 'MCP 2025-11-25 basic/lifecycle'
const LEGACY_HTTP = 'MCP 2025-11-25 basic/transports'

const SLOW = 'promise P6: memory towards slow clients is bounded'
const CLIENTS = 'promises P3 and P7: one answer for each request, to its own client'
const CONNECTIONS = 'promise P6: connections and sessions are bounded'
const SHEDDING = 'promise P6: overload is refused, not suffered'

const MODERN = ['modern'] as const
const LEGACY = ['legacy'] as const
const HTTP = ['http'] as const
const STDIO = ['stdio'] as const

export const REQUIREMENTS: readonly Requirement[] = [
  // ---- A: listing and naming with partial outages ----
  {
    id: 'A1',
    source: LISTS,
    behaviour:
      'With two servers under one prefix and the first dead, every kind of list holds what the living one offers and names the dead one with its cause.',
  },
  {
    id: 'A2',
    source: LISTS,
    behaviour: 'The place of the dead server in the config does not change the list.',
  },
  { id: 'A3', source: LISTS, behaviour: 'The same holds for servers without a prefix.' },
  {
    id: 'A4',
    source: LISTS,
    behaviour:
      'A server that goes down keeps its last known tools in the list, marked stale, until a limit; `unavailable: hide` removes them at once with one list_changed.',
  },
  {
    id: 'A5',
    source: LISTS,
    behaviour: 'With every server dead at the start, lists answer without an error and name each server.',
  },
  {
    id: 'A6',
    source: LISTS,
    behaviour:
      'A hung server does not delay the lists of the others beyond the list budget, and a second list does not wait for it again.',
  },
  {
    id: 'A7',
    source: LISTS,
    behaviour: 'A list that comes late is adopted and announced with one list_changed.',
  },
  {
    id: 'A8',
    source: LISTS,
    behaviour: 'A server that fails only its prompt list keeps its tools, and the notice names the kind.',
  },
  {
    id: 'A9',
    source: LISTS,
    behaviour: '"Method not found" to a list means that the server offers none; it is no failure.',
  },
  {
    id: 'A10',
    source: LISTS,
    behaviour: 'A list of which a page fails, or whose cursor loops, is never published in part.',
  },
  {
    id: 'A11',
    source: LISTS,
    behaviour:
      'Of two servers with the same public name the earlier one in the config has it, whoever answers first and also while it is down; the later one is reported and can be called by its qualified name.',
  },
  {
    id: 'A12',
    source: LISTS,
    behaviour: 'Two pairs of prefix and name that give the same public name are reported with both servers.',
  },
  {
    id: 'A13',
    source: LISTS,
    behaviour:
      'A name that is too long for clients or has unusual characters gets a stable public name, and a call reaches the original one.',
  },
  {
    id: 'A14',
    source: LISTS,
    behaviour: 'A dead server costs one log line for each change of state, not one for each request.',
  },
  {
    id: 'A15',
    source: LISTS,
    behaviour: 'That servers are unavailable is said in the text that a model reads, not only in `_meta`.',
  },
  {
    id: 'A16',
    source: LISTS,
    behaviour:
      'Two entries with the same command or URL are two servers, each with its own state and sessions.',
  },

  // ---- B: routing a call ----
  {
    id: 'B17',
    source: ROUTING,
    behaviour: 'A call whose owner is known reaches it without a try at the dead server of the same prefix.',
  },
  {
    id: 'B18',
    source: ROUTING,
    behaviour:
      'A call whose owner is not known yet goes on as soon as one server turns out to own the name, hung others or not.',
  },
  {
    id: 'B19',
    source: ROUTING,
    behaviour:
      'A name that nobody offers, while every server could be asked, is an unknown tool and nothing else.',
  },
  {
    id: 'B20',
    source: ROUTING,
    behaviour:
      'A name that nobody offers, while a server could not be asked, is answered with that server and its cause.',
  },
  {
    id: 'B21',
    source: ROUTING,
    behaviour:
      'A call to a known owner that is down fails at once by its name; a tool of the same name elsewhere does not run.',
  },
  {
    id: 'B22',
    source: ROUTING,
    behaviour: 'A tool that fails inside is answered as it is; no other server is tried.',
  },
  {
    id: 'B23',
    source: ROUTING,
    behaviour: 'A call that was lost after it was sent ends as outcome unknown and ran at most once.',
  },
  {
    id: 'B24',
    source: ROUTING,
    behaviour: 'A list that lacks the part of one server never makes a call to a healthy owner fail.',
  },
  { id: 'B25', source: ROUTING, behaviour: 'A hung server adds nothing to the time of calls to the others.' },
  {
    id: 'B26',
    source: ROUTING,
    behaviour:
      'Resources, resource templates and prompts of a healthy server work while a dead one stands before it.',
  },
  {
    id: 'B27',
    source: ROUTING,
    behaviour:
      'The result of an upstream passes unchanged: content, structured content, `_meta`, `isError`, also when it violates its own schema.',
  },
  {
    id: 'B28',
    source: ROUTING,
    behaviour: 'A tool that vanished upstream triggers one refresh of that list, and the error says so.',
  },
  {
    id: 'B29',
    source: ROUTING,
    behaviour:
      'A tool that appeared upstream without notice is found by one refresh before it is called unknown.',
  },
  {
    id: 'B30',
    source: ROUTING,
    behaviour:
      'The same fault gives the same kind of error, whether it shows on connect, on write or on read.',
  },
  {
    id: 'B31',
    source: ROUTING,
    behaviour: 'Clients of both eras get the same words for the same cause.',
    eras: ['legacy', 'modern'],
  },

  // ---- C: the front does not depend on upstreams ----
  {
    id: 'C32',
    source: FRONT,
    behaviour: 'The gateway is ready in less than a second with dead, hung, slow and missing servers.',
  },
  {
    id: 'C33',
    source: FRONT,
    behaviour:
      'The handshake of either era works with every server down, and its capabilities do not shrink.',
    eras: ['legacy', 'modern'],
  },
  {
    id: 'C34',
    source: FRONT,
    behaviour: 'A ping is answered by the gateway and never forwarded.',
    eras: LEGACY,
  },
  { id: 'C35', source: FRONT, behaviour: 'A lazy server is not started or contacted before its first use.' },
  {
    id: 'C36',
    source: FRONT,
    behaviour: 'Servers start in parallel; one hung start does not delay the others.',
  },
  {
    id: 'C37',
    source: FRONT,
    behaviour:
      'Questions, logs and progress of a shared server go only to the client whose call caused them.',
  },

  // ---- N: configuration ----
  {
    id: 'N167',
    source: CONFIG,
    behaviour:
      'Each way in which a config can be wrong has a message of its own that names server, key and fix.',
  },
  { id: 'N168', source: CONFIG, behaviour: 'Every option has an effect that a test would miss.' },
  { id: 'N169', source: CONFIG, behaviour: 'An unknown or contradictory option is refused, never ignored.' },
  {
    id: 'N170',
    source: CONFIG,
    behaviour: 'One bad entry makes that server misconfigured, with the reason in status; the others start.',
  },

  // ---- G and H: testing servers, and their status ----
  {
    id: 'G81',
    source: TESTING,
    behaviour:
      'A test of a server tells whether it works, how far it came, how long it took, in how many tries, every cause of a failure, and what the server is and offers.',
  },
  {
    id: 'G82',
    source: TESTING,
    behaviour:
      'A test of a name that is not configured is an error of its own; of an entry that cannot work it reports the fault.',
  },
  {
    id: 'G83',
    source: TESTING,
    behaviour:
      'A test tries as often as was asked, half a second, a second and so on apart, and waits for nothing after the last; no try at all is refused.',
  },
  {
    id: 'G84',
    source: TESTING,
    behaviour:
      'Where another try cannot help (no such command, a bad certificate, refused credentials) there is none.',
  },
  {
    id: 'G85',
    source: TESTING,
    behaviour:
      'A test has a session of its own that leaves nothing behind and disturbs nothing, but a success brings a server back at once that is taken for down.',
  },
  {
    id: 'G86',
    source: TESTING,
    behaviour:
      'Tests of one server at the same time are one; a hung server ends it after its tries and pauses, and it can be cancelled.',
  },
  {
    id: 'G87',
    source: TESTING,
    behaviour:
      '`check` and `test` exit 0 when all is well, 78 for the config, 69 for a server that cannot be used, and have machine-readable output.',
  },
  {
    id: 'H88',
    source: STATUS,
    behaviour: 'Every configured server is in the status, in every state, without flags.',
  },
  {
    id: 'H89',
    source: STATUS,
    behaviour:
      'The status of a server has its state, health, reason, since, last answer, last error, tries, next try, breaker, pid, era, calls and lists.',
  },
  {
    id: 'H91',
    source: STATUS,
    behaviour:
      'Reasons are specific: the status of HTTP and from what, the exit code with the last line of stderr, what was not answered in which time.',
  },
  {
    id: 'H92',
    source: STATUS,
    behaviour: 'Reasons hold no secret of an entry: no query, no header, no variable.',
  },
  {
    id: 'H93',
    source: STATUS,
    behaviour: 'Command line, endpoint and lists say the same of a server.',
  },
  {
    id: 'H97',
    source: STATUS,
    behaviour: 'A gateway that is gone is reported as not reachable, never as running.',
  },
  {
    id: 'H98',
    source: STATUS,
    behaviour:
      'Transitions are told once; a failure that repeats is not told again, and a recovery says how long the outage was.',
  },
  {
    id: 'H99',
    source: STATUS,
    behaviour:
      'Alive and ready do not depend on the servers; their health all together has an endpoint of its own with three values.',
  },
  {
    id: 'H100',
    source: STATUS,
    behaviour: 'A start that takes long is logged every 30 s with the last thing seen of it.',
  },

  // ---- P: protocol, server side, modern era ----
  {
    id: 'P1',
    source: BASE,
    behaviour:
      'A request without protocol version or client capabilities in `_meta` is refused with 400 and -32602; client info may be absent.',
    eras: MODERN,
  },
  {
    id: 'P2',
    source: TRANSPORT,
    behaviour: 'A missing or differing version, method or name header is refused with 400 and -32020.',
    eras: MODERN,
    transports: HTTP,
  },
  {
    id: 'P3',
    source: TRANSPORT,
    behaviour:
      'Base64 header values are decoded before they are compared; malformed ones are refused with -32020.',
    eras: MODERN,
    transports: HTTP,
  },
  {
    id: 'P4',
    source: TRANSPORT,
    behaviour:
      'Parameter headers have to match the arguments; null and absent arguments expect none, numbers compare as numbers.',
    eras: MODERN,
    transports: HTTP,
  },
  {
    id: 'P5',
    source: VERSIONS,
    behaviour: 'An unknown protocol version is refused with -32022 and the supported ones.',
    eras: MODERN,
  },
  {
    id: 'P6',
    source: BASE,
    behaviour: 'Methods that the modern era does not have are refused with -32601, over HTTP with 404.',
    eras: MODERN,
  },
  {
    id: 'P7',
    source: 'MCP 2026-07-28 server/discover',
    behaviour: 'Discovery works with every server dead.',
    eras: MODERN,
  },
  {
    id: 'P8',
    source: CACHING,
    behaviour:
      'Every result has a result type, and results that may be cached have `ttlMs` and `cacheScope`.',
    eras: MODERN,
  },
  {
    id: 'P9',
    source: CACHING,
    behaviour: 'A private cache entry never crosses principals, and continued calls are never cached.',
    eras: MODERN,
  },
  {
    id: 'P13',
    source: LISTEN,
    behaviour:
      'A listen stream starts with the acknowledgement, carries only what was asked for, and survives restarts of upstreams.',
    eras: MODERN,
  },
  {
    id: 'P14',
    source: 'MCP 2026-07-28 basic/patterns/cancellation',
    behaviour: 'Closing a response stream cancels the work upstream, and nothing is sent after it.',
    eras: MODERN,
    transports: HTTP,
  },
  {
    id: 'P15',
    source: TRANSPORT,
    behaviour: 'A foreign Origin is refused with 403; GET and DELETE without a session with 405 and Allow.',
    transports: HTTP,
  },
  {
    id: 'P16',
    source: TRANSPORT,
    behaviour: 'A posted notification is accepted with 202; a posted response or array is refused.',
    eras: MODERN,
    transports: HTTP,
  },
  {
    id: 'P17',
    source: 'MCP 2026-07-28 server/resources',
    behaviour:
      'A missing resource is -32602 with its URI; codes that the specification reserves are not used for anything else.',
    eras: MODERN,
  },
  { id: 'P18', source: TOOLS, behaviour: 'Lists have the same order however the servers come up.' },
  {
    id: 'P21',
    source: TRANSPORT,
    behaviour:
      'Results name the server, event streams tell proxies not to buffer, and the final answer ends a stream.',
    eras: MODERN,
  },

  // ---- P: protocol, server side, legacy era and both at once ----
  {
    id: 'P24',
    source: LEGACY_LIFE,
    behaviour: 'Each legacy version is negotiated; an unknown one is answered with the latest.',
    eras: LEGACY,
  },
  {
    id: 'P25',
    source: LEGACY_HTTP,
    behaviour:
      'A request without session is 400, one with an ended session 404, and an unsupported version header 400.',
    eras: LEGACY,
    transports: HTTP,
  },
  {
    id: 'P26',
    source: LEGACY_HTTP,
    behaviour: 'The notification stream never carries an answer, and each message goes to one stream only.',
    eras: LEGACY,
    transports: HTTP,
  },
  {
    id: 'P27',
    source: 'MCP 2025-03-26 basic/index',
    behaviour: 'Batches are accepted from clients of 2025-03-26 and from no others.',
    eras: LEGACY,
  },
  {
    id: 'P28',
    source: 'MCP 2025-11-25 basic/utilities/cancellation',
    behaviour: 'A disconnect does not cancel a call; a cancelled notification does.',
    eras: LEGACY,
  },
  {
    id: 'P29',
    source: VERSIONS,
    behaviour: 'Legacy results carry no modern fields, and codes for missing resources are translated.',
    eras: LEGACY,
  },
  {
    id: 'P30',
    source: VERSIONS,
    behaviour: 'Clients of both eras are served at one HTTP endpoint and in one stdio process.',
    eras: ['legacy', 'modern'],
  },
  {
    id: 'P31',
    source: VERSIONS,
    behaviour: 'Garbage before the handshake does not end the stdio face.',
    transports: STDIO,
  },

  // ---- P: protocol, client side ----
  {
    id: 'P33',
    source: TRANSPORT,
    behaviour:
      'Each request to a modern server carries envelope and headers, with the name that the server itself uses.',
    eras: MODERN,
  },
  {
    id: 'P34',
    source: TRANSPORT,
    behaviour: 'A tool whose header annotations are invalid is left out over HTTP; the others stay.',
    eras: MODERN,
    transports: HTTP,
  },
  { id: 'P35', source: VERSIONS, behaviour: 'Every answer to the era probe leads to the right verdict.' },
  {
    id: 'P36',
    source: VERSIONS,
    behaviour: 'The era of a server is remembered, and found out again when it fails.',
  },
  {
    id: 'P37',
    source: 'MCP 2026-07-28 basic/patterns/mrtr',
    behaviour:
      'Request state is echoed byte for byte under a new id; an unknown result type is an error, an absent one means complete.',
    eras: MODERN,
  },
  {
    id: 'P38',
    source: TRANSPORT,
    behaviour:
      'JSON and event-stream answers are accepted, comments ignored, and modern servers get no responses.',
    transports: HTTP,
  },
  {
    id: 'P39',
    source: LEGACY_HTTP,
    behaviour:
      'A legacy server gets `initialized` and its session id; 404 leads to a new session, 405 on GET is tolerated, `initialize` is never cancelled.',
    eras: LEGACY,
    transports: HTTP,
  },
  {
    id: 'P39b',
    source: LEGACY_HTTP,
    behaviour:
      'A broken event stream of a legacy server is resumed where its events are numbered, after the time that the server asked for.',
    eras: LEGACY,
    transports: HTTP,
  },
  {
    id: 'P40',
    source: 'MCP 2026-07-28 basic/transports/stdio',
    behaviour:
      'A child is told of cancellations, may print noise, is restarted when it exits and stopped with the ladder.',
    transports: STDIO,
  },
  {
    id: 'P41',
    source: LISTEN,
    behaviour: 'A listen stream that breaks without a result is opened again.',
    eras: MODERN,
  },
  {
    id: 'P42',
    source: 'MCP 2026-07-28 basic/patterns/timeouts',
    behaviour: 'Every request has a timeout; progress puts off the soft one, never the total one.',
  },
  {
    id: 'P43',
    source: 'MCP 2026-07-28 server/utilities/pagination',
    behaviour: 'Cursors are opaque, the empty one is one, and a loop ends.',
  },
  // ---- F: rows of the fault matrix that clients cause ----
  {
    id: 'F24b',
    source: SLOW,
    behaviour:
      'However fast a server tells its progress, a client is told at most ten times a second for each request, the last of it always; nobody else is.',
  },
  {
    id: 'F26',
    source: CLIENTS,
    behaviour: 'A storm of cancels makes at most one cancel a call, and leaves nothing behind.',
  },
  {
    id: 'F27',
    source: CLIENTS,
    behaviour:
      'A second request of an id that is in flight is refused with -32600 in a session and on stdio; separate stateless requests may share one, and no answer is swapped.',
  },
  {
    id: 'F51',
    source: CLIENTS,
    behaviour:
      'A modern client that disconnects cancels its call within 100 ms; the call of a session goes on, and its answer is kept for a while for a client that comes back.',
  },
  {
    id: 'F52',
    source: SLOW,
    behaviour:
      'A client that never reads costs at most 1 MiB and one answer, and is closed after 30 s without progress; all together have a bound, and the largest goes first.',
    transports: HTTP,
  },
  {
    id: 'F53',
    source: CONNECTIONS,
    behaviour:
      'Slow headers, slow bodies, headers too large and too many connections end at a bound each; health and status always answer.',
    transports: HTTP,
  },
  {
    id: 'F54',
    source: CONNECTIONS,
    behaviour:
      'Sessions that nobody ends are bounded in number, time and size; a client whose session ended gets 404 and can begin anew.',
    eras: LEGACY,
    transports: HTTP,
  },
  {
    id: 'F60',
    source: SHEDDING,
    behaviour:
      'Short of memory, time or descriptors, the gateway first takes nothing new that lasts, then no new requests, then closes the largest streams, and goes back in the same order; health and status always answer.',
  },

  // ---- F: the fault matrix; each row also holds the eight invariants of test/faults ----
  {
    id: 'F01',
    source: FAULTS,
    behaviour:
      'A child that is killed in mid-call leaves that call as outcome unknown; reads are repeated on the new child, which is there at once.',
    transports: STDIO,
  },
  {
    id: 'F02',
    source: FAULTS,
    behaviour:
      'A child that ends by itself while idle is started again, unless it is lazy; its tools stay listed.',
    transports: STDIO,
  },
  {
    id: 'F03',
    source: FAULTS,
    behaviour:
      'A command that is missing or not executable is misconfigured within a second, with its path; the gateway is ready.',
    transports: STDIO,
  },
  {
    id: 'F04',
    source: FAULTS,
    behaviour:
      'A server that crashes on every start is quarantined after its budget, tried rarely, and on demand at most every 15 s.',
    transports: STDIO,
  },
  {
    id: 'F05',
    source: FAULTS,
    behaviour:
      'A server that never answers the handshake is given up at the end of its budget; lists of the others come at once.',
  },
  {
    id: 'F06',
    source: FAULTS,
    behaviour: 'A call that waits for a slow handshake succeeds.',
  },
  {
    id: 'F07',
    source: FAULTS,
    behaviour: 'Lines on stdout that are no messages are skipped and told; too many of them end the process.',
    transports: STDIO,
  },
  {
    id: 'F08',
    source: FAULTS,
    behaviour: 'An answer that breaks off makes its call outcome unknown; what is left of it is not read.',
  },
  {
    id: 'F09',
    source: FAULTS,
    behaviour: 'Messages that come in pieces, with CRLF or a byte order mark, are read as they were meant.',
  },
  {
    id: 'F10',
    source: FAULTS,
    behaviour:
      'A line without end takes bounded memory and delays nobody; the call that it answers fails as too large.',
    transports: STDIO,
  },
  {
    id: 'F11',
    source: FAULTS,
    behaviour: 'A flood on stderr holds nobody up, and what is kept of it is bounded.',
    transports: STDIO,
  },
  {
    id: 'F12',
    source: FAULTS,
    behaviour:
      'A child that stops reading has a bounded queue; after 30 s it is started anew, and gets what was never written.',
    transports: STDIO,
  },
  {
    id: 'F13',
    source: FAULTS,
    behaviour: 'A child that closes its stdin costs neither the gateway nor, as it was never sent, a call.',
    transports: STDIO,
  },
  {
    id: 'F14',
    source: FAULTS,
    behaviour: 'A child that ignores SIGTERM is killed with its group 3 s later.',
    transports: STDIO,
  },
  {
    id: 'F15',
    source: FAULTS,
    behaviour:
      'Grandchildren are ended with their server, whoever of them holds the pipes, on a crash as on a stop.',
    transports: STDIO,
  },
  {
    id: 'F16',
    source: FAULTS,
    behaviour: 'Children end with a gateway that is killed; what is left of them is ended at its next start.',
    transports: STDIO,
  },
  {
    id: 'F17',
    source: FAULTS,
    behaviour: 'An answer with an id that nobody asked with is dropped and told.',
  },
  {
    id: 'F18',
    source: FAULTS,
    behaviour: 'Of two answers to one request the first counts, and the second is told.',
  },
  {
    id: 'F19',
    source: FAULTS,
    behaviour: 'An answer that comes after a timeout or a cancellation reaches nobody.',
  },
  {
    id: 'F20',
    source: FAULTS,
    behaviour:
      'An answer whose id has another type, or an error without id, is matched to no request that shares its line.',
  },
  {
    id: 'F21',
    source: FAULTS,
    behaviour:
      'An answer with both result and error, with neither, or without a version ends its call as a violation.',
  },
  {
    id: 'F22',
    source: FAULTS,
    behaviour:
      'A result of an unknown type, or a request for input of a server that has no such thing, crashes nothing.',
  },
  {
    id: 'F23',
    source: FAULTS,
    behaviour:
      "A server's question goes to the one caller that it can only be meant for, else it is refused.",
  },
  {
    id: 'F24',
    source: FAULTS,
    behaviour: 'Progress for an unknown token is dropped, and a flood of it is thinned to ten a second.',
  },
  {
    id: 'F25',
    source: FAULTS,
    behaviour:
      'A server that ignores a cancellation holds up neither the caller nor, after a grace, its place; eight that visibly go on end the process, silence does not.',
  },
  ...CATALOG_DISK,
  ...KEPT_LISTS,
  // ---- H to L and Q: supervision ----
  ...SUPERVISION,
  ...WIDE,

  // ---- R: stopping ----
  {
    id: 'R194',
    source: STOPPING,
    behaviour:
      'A stop takes nothing new, lets calls run for their time, gives each that is left one typed answer, ends sessions, then each child by the ladder, and exits 0.',
  },
  {
    id: 'R195',
    source: STOPPING,
    behaviour: 'Servers are ended side by side: ten stubborn children take one ladder.',
    transports: STDIO,
  },
  {
    id: 'R196',
    source: STOPPING,
    behaviour:
      'A child that leaves at the end of its input gets no signal, one that ignores SIGTERM is killed, and grandchildren go too.',
    transports: STDIO,
  },
  {
    id: 'R197',
    source: STOPPING,
    behaviour: 'A server that cannot be stopped does not keep the others from it, and is named.',
  },
  {
    id: 'R198',
    source: STOPPING,
    behaviour:
      'A stop while servers start or wait for their next try is quick, and nothing is started after it.',
  },
  {
    id: 'R199',
    source: STOPPING,
    behaviour:
      'Every way in (`holdfast serve`, `holdfast stdio`, the library) stops alike, whether by a signal, the end of the input or a fault.',
  },
  {
    id: 'R200',
    source: STOPPING,
    behaviour:
      'A second signal ends everything within a second; after SIGKILL children leave by themselves or are ended at the next start.',
  },
  {
    id: 'R201',
    source: STOPPING,
    behaviour:
      'Stopping twice, before a start, and starting after a failed start or after a stop each have one defined result.',
  },
  {
    id: 'R202',
    source: STOPPING,
    behaviour:
      'After a stop no timer, socket or file of the gateway is left; status says stopped and keeps its history.',
  },

  // ---- F: faults of processes and of the machine ----
  {
    id: 'F55',
    source: FAULTS,
    behaviour: 'A gateway on stdio whose output nobody reads any more ends, with its servers.',
  },
  {
    id: 'F58',
    source: FAULTS,
    behaviour:
      'Without file descriptors the machine is named as the cause, and everything works again when there are some.',
  },
  {
    id: 'F59',
    source: FAULTS,
    behaviour:
      'A state folder that cannot be written or is corrupt costs a warning, never a server or the gateway.',
  },
  {
    id: 'F64',
    source: FAULTS,
    behaviour:
      'SIGTERM with calls running takes at most its time, a second one at most a second; the answers are delivered whole.',
  },
  {
    id: 'F65',
    source: FAULTS,
    behaviour:
      'An address that cannot be bound ends the command with 78 and one line, before any server is started.',
  },
  ...CATALOG,
  ...UPSTREAM,
  ...ISOLATION,
  ...RELOAD_ROWS,
  ...CONFIGURATION,
]
