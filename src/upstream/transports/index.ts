/**
 * upstream/transports: bytes to and from one server, over a child's pipes, Streamable HTTP, or HTTP+SSE of 2024-11-05.
 * They know framing, sessions and how connections end; they know no method.
 */
export { createHttpTransport } from './http.js'
export { isSessionError } from './session-lost.js'
export { createSseTransport } from './sse.js'
export { createStdioTransport, type Ladder } from './stdio.js'
