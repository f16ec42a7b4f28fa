/**
 * core/tables: tables that change with every call. Not Map or Set: those keep each retired hash table, with all that was
 * in it, reachable from the one before, and once one of them is old every call lives until the next full collection.
 */
export * from './id-ring.js'
export * from './small-table.js'
