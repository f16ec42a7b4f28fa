/**
 * upstream: the edge towards servers. Finds out which era a server speaks, keeps one connection per handshake, and
 * turns canonical requests into that era's messages. It decides neither who is asked nor when to try again.
 */
export { createConnectorFactory } from './connector.js'
