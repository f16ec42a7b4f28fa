import { parseArgs } from 'node:util'
import { loadSimulator } from './load.mjs'

const USAGE = `npm run sim -- [--seed N [--trace [--only TEXT]]] [--seeds N] [--from N] [--fail N]

  --seed N    one run; prints what it found
  --trace     with --seed: everything that happened; --only TEXT: lines that hold it
  --fail N    with --seed: the Nth operation of the machine fails
  --seeds N   this many runs, one after the other (default 200)
  --from N    the first seed of them (default 1)`

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '200' },
    from: { type: 'string', default: '1' },
    fail: { type: 'string', default: '0' },
    trace: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    calm: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) {
  console.log(USAGE)
  process.exit(0)
}

const { simulate, renderReport, renderHistory, close } = await loadSimulator()
const single = values.seed !== undefined
const first = Number(single ? values.seed : values.from)
const count = single ? 1 : Number(values.seeds)
const startedAt = performance.now()
const failing = []
for (let seed = first; seed < first + count; seed += 1) {
  const report = await simulate({ seed, failing: Number(values.fail), calm: values.calm })
  if (values.trace) console.log(renderHistory(report, values.only))
  if (single || report.violations.length > 0) console.log(renderReport(report))
  if (report.violations.length > 0) failing.push(seed)
}
const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1)
console.log(
  `${count} runs in ${seconds} s, ${failing.length} broke a promise${failing.length > 0 ? `: ${failing.join(' ')}` : ''}`,
)
await close()
process.exitCode = failing.length > 0 ? 1 : 0
