/**
 * edit: a config text with one thing changed, comments and formatting kept; checked whole, shown without its secrets,
 * and written whole or not at all. It knows nothing of commands and gateways.
 */
export { type ConfigText, openText, serverChange, switchChanges } from './config-text.js'
export { checkChanges, type Revision } from './revision.js'
export { NotSaved, saveText } from './save.js'
export { MASK } from './secrets.js'
