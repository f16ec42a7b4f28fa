/**
 * wiring: the parts of the composition root that are more than a line. They join rooms and decide nothing.
 */
export * from './config-feed.js'
export { ConfigViewer } from './config-view.js'
export * from './control-token.js'
export * from './front-door.js'
export * from './identity.js'
export * from './read-model.js'
export type { ReloadResult } from './reload-result.js'
export * from './reloader.js'
export * from './stdio-pipe.js'
