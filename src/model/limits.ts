/**
 * Every fixed bound of the gateway, in one place. Each is hit by a test.
 * Sources: research on peers and the protocol text; the defaults a person may change are in the config schema.
 */
export const LIMITS = {
  /** Bytes of one client message (HTTP body or stdio line). */
  bodyBytes: 4 * 1024 * 1024,
  /** Bytes of one upstream message (line, SSE event, HTTP body). */
  upstreamMessageBytes: 16 * 1024 * 1024,
  /** Nesting of a JSON message. */
  jsonDepth: 128,
  /** Values in one client message. */
  jsonElements: 200_000,
  /** Values in one upstream message: a big list is legitimate, a bomb is not. */
  upstreamJsonElements: 2_000_000,
  /** Bytes of a string JSON-RPC id. */
  idBytes: 256,
  /** Messages in one legacy batch. */
  batch: 100,
  /** Components of one kind at one upstream. */
  componentsPerKind: 2_000,
  /** Pages of one list of one upstream. */
  listPages: 100,
  /** Sum of the bytes of one list of one upstream. */
  listBytes: 8 * 1024 * 1024,
  /** Shortest time for which a list is served without asking again, whatever its server says. */
  listTtlMinMs: 5_000,
  /** Milliseconds for which what a server that is down offered stays listed. */
  staleMs: 24 * 60 * 60_000,
  /** Bytes of one resource that is kept for as long as its server says, and of all of one server. */
  keptReadBytes: 1024 * 1024,
  keptReadsBytes: 16 * 1024 * 1024,
  /** Bytes of one file of what a server offered, or of its pins. */
  archiveBytes: 64 * 1024 * 1024,
  /** Milliseconds between a change of what is kept on disk and its writing. */
  archiveDelayMs: 2_000,
  /** Pins of one kind at one upstream that are kept of what it offers no more. */
  removedPins: 2_000,
  /** Milliseconds that a list waits for a server whose lists are not cached. */
  uncachedListMs: 2_000,
  /** Components in one page of our own lists. */
  pageSize: 1_000,
  /** Longest public tool or prompt name that common clients take. */
  publicName: 64,
  /** Legacy sessions of the HTTP face, in all. */
  sessions: 10_000,
  /** Milliseconds after which an unused legacy session ends. */
  sessionIdleMs: 30 * 60_000,
  /** Milliseconds after which every legacy session ends that has no request running. */
  sessionMaxAgeMs: 24 * 60 * 60_000,
  /** Legacy sessions of one authenticated identity. */
  sessionsPerPrincipal: 100,
  /** Milliseconds between two looks at the sessions for old ones. */
  sessionSweepMs: 60_000,
  /** Bytes kept of each child's stderr. */
  stderrRingBytes: 64 * 1024,
  /** Bytes waiting for a child's stdin. */
  stdinQueueBytes: 1024 * 1024,
  /** Bytes waiting for one client stream, one result not counted. */
  clientBufferBytes: 1024 * 1024,
  /** Milliseconds without progress after which the stream of a client that does not read is closed. */
  clientStalledMs: 30_000,
  /** Bytes waiting for all clients together; where the heap is small, a quarter of its limit. */
  clientBuffersBytes: 256 * 1024 * 1024,
  /** Bytes of answers kept for one legacy session whose stream broke, for `detachedMs`. */
  keptAnswerBytes: 1024 * 1024,
  /** Progress (and, apart, log) notifications of one request in a second, towards its client. */
  notesPerRequest: 10,
  /** Progress and log notifications of one server in a second, towards all clients together. */
  notesPerUpstream: 100,
  /** Connections of clients; a few more are let in that reach health and status alone. */
  connections: 10_000,
  /** Connections beyond `connections` that reach health and status alone. */
  spareConnections: 64,
  /** Bytes of the headers of one client request. */
  headerBytes: 16 * 1024,
  /** Milliseconds from the first byte of a client request to the end of its headers. */
  headersMs: 20_000,
  /** Milliseconds from the first byte of a client request to the end of its body. */
  requestMs: 60_000,
  /** Milliseconds for which a connection without a request is kept open. */
  connectionIdleMs: 75_000,
  /** Milliseconds between two measurements of heap, event loop and descriptors. */
  loadSampleMs: 250,
  /** Requests in flight per client connection or session. */
  inFlightPerClient: 256,
  /** Resources that one session, or one stateless stream, is told about; characters of each URI. */
  subscriptionsPerClient: 1_000,
  subscribedUri: 4_096,
  /** Subscriptions to resources of all clients together. */
  subscriptions: 50_000,
  /** Largest delay a timer may have: Node fires longer ones at once. */
  timerMs: 2 ** 31 - 1,
  /** SSE comment interval towards clients. */
  keepAliveMs: 15_000,
  /** How long a legacy client's request goes on after it disconnected. */
  detachedMs: 60_000,
  /** Lines a second on a child's stdout that are no messages, once it has spoken; more end the connection. */
  garbageLinesPerSecond: 100,
  /** Lines in a row on a child's stdout that are no messages: that many end the connection. */
  garbageLinesInARow: 1_000,
  /** Breaches of the protocol within a minute: that many end the connection. */
  violationsPerMinute: 10,
  /** Milliseconds without room in a child's stdin after which the child counts as stuck. */
  stdinStuckMs: 30_000,
  /** Lines a second of a child's stderr that are passed on. */
  stderrLinesPerSecond: 100,
  /** Milliseconds for which the late answer to a cancelled request is swallowed. */
  tombstoneMs: 60_000,
  /** Cancelled requests remembered per connection. */
  tombstones: 10_000,
  /** Cancelled requests that a child may visibly go on with, beyond the grace, until it is recycled. */
  stuckRequests: 8,
  /** Progress notifications, and log notifications, a second for one request; of more the last is kept. */
  notificationsPerRequest: 10,
  /** The same for one connection. */
  notificationsPerConnection: 100,
  /** Calls that wait for one server's start, and for a place at one that has its hands full. */
  waitersPerUpstream: 32,
  queuePerUpstream: 128,
  /** Milliseconds that a call waits for a place. */
  queueMs: 5_000,
  /** Milliseconds that a call is held while its server starts: a program, a remote. */
  holdStdioMs: 45_000,
  holdHttpMs: 15_000,
  /** Calls in flight of one authenticated identity, and of all clients together. */
  inFlightPerPrincipal: 64,
  inFlightTotal: 1_024,
  /** Milliseconds that a cancelled call keeps its place, so that a server which ignores cancels is not flooded. */
  cancelGraceMs: 5_000,
  /** Milliseconds over which a server that came back is given its full load again. */
  slowStartMs: 10_000,
  /** Milliseconds from the first byte of a server's HTTP answer to the end of its headers. */
  answerHeadMs: 20_000,
  /** Milliseconds until a server has taken a message that asks for no answer. */
  receiptMs: 20_000,
  /** Bounds of what a server may ask for in Retry-After. */
  retryAfterMinMs: 100,
  retryAfterMaxMs: 5 * 60_000,
  /** Milliseconds that a list waits for upstreams which are in their very first start. */
  firstListMs: 600,
  /** Instances of servers that are not shared, of all identities and sessions together; and of them, programs. */
  instances: 256,
  instanceChildren: 48,
  /** Milliseconds that a list waits for instances which are in their very first start. */
  instanceListMs: 2_000,
  /** Milliseconds that may pass until an embedding program has said who a client is. */
  identifyMs: 10_000,
  /** Milliseconds that a call of an unknown name waits for upstreams whose catalog is unknown. */
  resolveMs: 5_000,
  /** Child processes at a time, in all. */
  children: 64,
  /** Child processes that may be in the first moments of their start at a time. */
  startingChildren: 8,
} as const
