/**
 * core/session: the table of legacy sessions. Who is known, for how long, how many of whom, and who goes first when it is full.
 *
 * Pure: the time comes in with each call.
 */
export * from './table.js'
