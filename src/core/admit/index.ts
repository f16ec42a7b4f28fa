/**
 * core/admit: who may go next when a server has its hands full. Bounded, fair between principals, first come first
 * served within one. It counts; it does not wait.
 */
export * from './fair-queue.js'
