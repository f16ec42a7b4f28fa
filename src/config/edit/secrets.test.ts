import { describe, expect, test } from 'vitest'
import { type Dialect, parseText } from '../parse.js'
import { maskText } from './secrets.js'

function mask(text: string, dialect: Dialect): string {
  const masked = maskText(text, dialect, parseText(text, dialect).value)
  return masked.text
    .split('\n')
    .map(line => masked.clean(line))
    .join('\n')
}

const JSON_TEXT = `{
  "mcpServers": { // hunter2-long
    "a": {
      "command": "x",
      "args": ["--token", "hunter2", "--api-key=hunter2", "--port", "80"],
      "env": { "K": "hunter2", "L": "\\u0068unter2", "N": "h2", "V": "\${K}" }
    },
    "b": {
      "url": "http://u:hunter2@h/p?key=hunter2&v=\${V}",
      "headers": { "Authorization": "Bearer \${T}", "X": "Bearer hunter2-long" }
    }
  }
}
`

describe('a config that is shown', () => {
  test('in JSON has no secrets, and has everything else', () => {
    const shown = mask(JSON_TEXT, 'json')
    expect(shown).not.toMatch(/hunter|u0068|h2/)
    expect(shown.replaceAll('"***"', '"…"')).toContain(
      '"args": ["--token", "…", "--api-key=***", "--port", "80"],\n      "env": { "K": "…", "L": "…", "N": "…", "V": "${K}" }',
    )
    expect(shown).toContain('"url": "http://***@h/p?key=***&v=${V}"')
    expect(shown).toContain('"headers": { "Authorization": "Bearer ${T}", "X": "***" }')
    expect(parseText(shown, 'json').faults).toEqual([])
  })

  test.each<[Dialect, string]>([
    [
      'yaml',
      'servers:\n  a:\n    env:\n      K: >-\n        hunter2\n        hunter3\n      L: "hunt\\x65r"\n    headers: {A: hunter2}\n',
    ],
    ['yaml', 'x: &e {K: hunter2}\nmcpServers:\n  a: {command: x, env: *e}\n'],
    ['toml', '[mcpServers.a]\ncommand = "x"\nenv = { K = "hunter2" }\nheaders.A = "hunt\\u0065r"\n'],
    [
      'toml',
      '[mcpServers.a]\nurl = "http://hunter2:p@h"\n[mcpServers.a.env]\nK = """\nhunter2\nhunt\\u0065r\n"""\n',
    ],
    ['toml', '[mcpServers]\na.env.K = "hunter2"\n[mcpServers."b.c"."headers"]\nA = \'hunter3\'\n'],
  ])('in %s has none either: %s', (dialect, text) => {
    expect(mask(text, dialect)).not.toMatch(/hunt/)
  })
})
