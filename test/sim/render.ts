import type { Recorded } from './history.js'
import type { Report } from './simulation.js'

/** What broke in one run, and how to see it again. */
export function renderReport({ seed, violations, requests, world, hash, ledger }: Report): string {
  const size = `${requests} requests, ${world.events} events, ${Math.round(world.now / 1_000)} virtual s`
  const head = `seed ${seed} (${hash}): ${size}, ${violations.length} violations`
  const shown = violations
    .slice(0, 10)
    .map(({ promise, at, what }) => `  ${promise} at ${Math.round(at)}: ${what}`)
  const failed = ledger.failing > 0 ? ` --fail ${ledger.failing}` : ''
  const replay = violations.length === 0 ? [] : [`  replay: npm run sim -- --seed ${seed}${failed} --trace`]
  return [head, ...shown, ...replay].join('\n')
}

/** Everything that happened, one line each; those that hold `only` where that is not empty. */
export function renderHistory({ world }: Report, only = ''): string {
  return world.history
    .map(renderFact)
    .filter(line => line.includes(only))
    .join('\n')
}

function renderFact({ at, kind, ...rest }: Recorded): string {
  const words = Object.values(rest).map(value =>
    typeof value === 'object' ? JSON.stringify(value) : String(value),
  )
  return `${at.toFixed(1).padStart(10)} ${kind.padEnd(9)} ${words.join(' ')}`
}
