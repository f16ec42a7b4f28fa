// The same server on a pipe.
import { answer } from './echo.mjs'

let rest = ''
process.stdin.setEncoding('utf8')
process.stdin.on('data', chunk => {
  const lines = (rest + chunk).split('\n')
  rest = lines.pop()
  let out = ''
  for (const line of lines) {
    if (line === '') continue
    const body = answer(line)
    if (body !== null) out += `${body}\n`
  }
  if (out !== '') process.stdout.write(out)
})
process.stdin.on('end', () => process.exit(0))
