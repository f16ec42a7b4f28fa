/**
 * core/shed: how much of the gateway's work is refused while the machine is short of memory, time or descriptors.
 *
 * Pure: a measurement comes in, a level comes out; who measures and what a level means to a client is not known here.
 */
export * from './level.js'
