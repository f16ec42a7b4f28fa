import { join } from 'node:path'
import { beforeEach } from 'vitest'
import { freshFolder } from './run-folder.js'

/**
 * Each test has a state folder of its own, and none is in the home of whoever runs it. In a shared one a gateway would
 * find the snapshots and pins of whatever server had the same port before, and would end the servers of a gateway that
 * another test has just killed.
 */
function useOwn(): void {
  process.env['HOLDFAST_STATE_DIR'] = join(freshFolder('state'), 'holdfast')
}

useOwn()
// Tests that run at the same time in one process share its environment; they keep the folder of their file.
beforeEach(({ task }) => {
  if (!task.concurrent) useOwn()
})
