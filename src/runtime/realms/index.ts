/**
 * realms: who has which instance of a server. A realm is what one identity or session sees; a cell is its own instance
 * of a server that not everybody shares.
 */
export { specOfBase, specOfCell } from './cell.js'
export { CellTable, type InstanceFigures } from './cell-table.js'
export { type CredentialSource, withCredentials } from './credentials.js'
export { BaseRealm, type Realm, type RealmRoom } from './realm.js'
export { Realms } from './realms.js'
