import { factsOf } from './proc.js'

/**
 * The groups of this process that may live, with the start of their leaders. A process has one end, so there is one
 * list: whatever ends it short of a signal that nobody handles (a fault in the program around the library, a call of
 * `process.exit`) takes the children along.
 */
const groups = new Map<number, string | null>()

export function endWithProcess(group: number, start: string | null): void {
  if (groups.size === 0) process.on('exit', killGroups)
  groups.set(group, start)
}

export function hasEnded(group: number): void {
  if (groups.delete(group) && groups.size === 0) process.off('exit', killGroups)
}

function killGroups(): void {
  for (const [group, start] of groups) {
    const leader = factsOf(group)
    // The number may be somebody else's by now.
    if (leader && start !== null && leader.start !== start) continue
    try {
      process.kill(-group, 'SIGKILL')
    } catch {
      // It is gone already.
    }
  }
}
