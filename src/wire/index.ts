/**
 * wire: bytes in, bytes out. Scans JSON-RPC envelopes without parsing payloads, edits JSON objects in place of bytes,
 * frames lines and server-sent events, encodes header values.
 *
 * Pure and without policy: it never knows which server or client the bytes belong to.
 */

export * from './edit.js'
export * from './envelope.js'
export * from './headers.js'
export * from './ndjson.js'
export * from './parts.js'
export * from './scan.js'
export * from './sse.js'
