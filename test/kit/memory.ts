import { readFileSync } from 'node:fs'

/** What a process has in memory, as the system counts it. */
export function residentBytes(pid: number): number {
  const [, pages = '0'] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
  return Number(pages) * 4_096
}
