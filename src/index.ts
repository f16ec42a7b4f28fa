/**
 * Holdfast as a library.
 *
 * @example
 * const gateway = await createGateway({ mcpServers: { files: { command: 'npx', args: ['-y', 'server', '.'] } } })
 * await gateway.callTool('files__read_file', { path: 'README.md' })
 */
export type { ConfigReading, Fault as ConfigFault } from './config/index.js'
export { jsonSchema } from './config/index.js'
export type { GatewayStatus, Health, Transition, UpstreamStatus } from './control/index.js'
export {
  type CallOptions,
  createGateway,
  type Gateway,
  type GatewayOptions,
  type Result,
  type UpstreamEvent,
  type UpstreamHandle,
  type UpstreamTestOptions,
} from './library.js'
export {
  type Blame,
  type ErrorCode,
  type FailureKind,
  GatewayError,
  isGatewayError,
  type LifecycleState,
  type Phase,
  type UpstreamView,
} from './model/index.js'
export type { Log, LogRecord } from './observe/index.js'
export type { TestPhase, TestReport } from './runtime/test-report.js'
export type { ReloadResult } from './wiring/index.js'
