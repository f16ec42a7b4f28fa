/**
 * cli: thin commands over the library and over a running gateway. One file a command; data on stdout, talk on stderr.
 */
export { run } from './program.js'
