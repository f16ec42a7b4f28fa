import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What the kernel says of a process. */
export interface ProcessFacts {
  readonly group: number
  /** Clock ticks from the boot of the machine to its start: with the pid, this names a process for ever. */
  readonly start: string
  /** Ended, and not yet collected by its parent. */
  readonly zombie: boolean
}

/** The variable that marks a child, and everything that it starts, as belonging to one gateway. */
export const INSTANCE_VARIABLE = 'HOLDFAST_INSTANCE'

/** Null when there is no such process, or no /proc. */
export function factsOf(pid: number): ProcessFacts | null {
  const stat = read(`/proc/${pid}/stat`)
  // The state stands behind the name, which may itself contain spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = '', , group] = fields
  const start = fields[19]
  if (group === undefined || start === undefined) return null
  return { group: Number(group), start, zombie: state === 'Z' || state === 'X' }
}

/** True when the environment with which the process was started has the mark of that gateway. */
export function carriesInstance(pid: number, instance: string): boolean {
  return `\0${read(`/proc/${pid}/environ`)}\0`.includes(`\0${INSTANCE_VARIABLE}=${instance}\0`)
}

/** Living members of a process group, its leader included. Looks at every process of the machine. */
export function livingMembers(group: number): number[] {
  return pids().filter(pid => {
    const facts = factsOf(pid)
    return facts !== null && facts.group === group && !facts.zombie
  })
}

/** Where pids mean what they say: this boot of this machine, and this PID namespace. Null without /proc. */
export function pidSpace(): string | null {
  const boot = read('/proc/sys/kernel/random/boot_id').trim()
  try {
    return boot === '' ? null : `${boot} ${readlinkSync('/proc/self/ns/pid')}`
  } catch {
    return null
  }
}

function pids(): number[] {
  try {
    return readdirSync('/proc').map(Number).filter(Number.isInteger)
  } catch {
    return []
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
