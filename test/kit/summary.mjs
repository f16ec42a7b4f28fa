// Adds up the JSON reports of vitest: `node summary.mjs REPORT...`. The last line is "N passed, N failed".
import { readFileSync } from 'node:fs'

let passed = 0
let failed = 0
const problems = []

for (const path of process.argv.slice(2)) {
  const report = JSON.parse(readFileSync(path, 'utf8'))
  passed += report.numPassedTests
  failed += report.numFailedTests
  // A file that does not even load has no tests to fail.
  const broken = report.testResults.filter(
    file => file.status === 'failed' && file.assertionResults.length === 0,
  )
  failed += broken.length
  for (const file of broken) problems.push(`${path}: ${file.name} could not be run`)
  if (report.numTotalTests === 0) problems.push(`${path}: nothing ran`)
  if (!report.success && report.numFailedTests === 0 && broken.length === 0) {
    problems.push(`${path}: the run as a whole failed`)
  }
}
if (process.argv.length < 3) problems.push('no report was given')

for (const problem of problems) process.stdout.write(`${problem}\n`)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = failed > 0 || passed === 0 || problems.length > 0 ? 1 : 0
