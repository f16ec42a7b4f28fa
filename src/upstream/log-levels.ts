/** RFC 5424 severities, least severe first. */
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/** True when a message of that level is wanted by someone who asked for `wanted`. Unknown levels pass. */
export function isWanted(level: string, wanted: string): boolean {
  const at = LEVELS.indexOf(level)
  return at < 0 || at >= LEVELS.indexOf(wanted)
}

/** True when `level` lets more through than `current`. */
export function isMoreVerbose(level: string, current: string | null): boolean {
  return current === null || LEVELS.indexOf(level) < LEVELS.indexOf(current)
}
