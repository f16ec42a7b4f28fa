/**
 * wiring: the parts of the composition root that are more than a line. They join rooms and decide nothing.
 */
export * from './control-token.js'
export * from './identity.js'
export * from './read-model.js'
export {
  type ConfigStatus,
  type LoadConfig,
  Reloader,
  type ReloadResult,
  type ReloadWishes,
} from './reloader.js'
export * from './stdio-pipe.js'
