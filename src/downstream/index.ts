/**
 * downstream: the edge towards clients. Takes messages of either era over HTTP or stdio, decodes them into calls, and
 * encodes outcomes; it knows no server by name.
 */
export { createGuard } from './guard.js'
export { type PressureGauge, Shedder } from './shedder.js'
export { boundsFor } from './transports/client-buffers.js'
export { createHttpFace, type FaceOptions, type HttpFace } from './transports/http.js'
export { createStdioFace, type StdioFace } from './transports/stdio.js'
