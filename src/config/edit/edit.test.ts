import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Dialect, parseText } from '../parse.js'
import type { Change } from './change.js'
import { diffLines } from './diff.js'
import { editText } from './edit.js'

const NEW = { command: 'npx', args: ['-y', 'b'] }
const at = (...path: string[]) => ['mcpServers', ...path]
const add = (name = 'b', value: unknown = NEW): Change => ({ path: at(name), value })
const remove = (name: string): Change => ({ path: at(name), value: undefined })
const disable = (name: string): Change => ({ path: at(name, 'holdfast', 'enabled'), value: false })

/** A text, a change, and the lines of the result that were not there before (`+`), or are gone (`-`). */
const ROWS: [what: string, dialect: Dialect, text: string, change: Change, expected: string][] = [
  [
    'JSON: behind the last server, and behind its comment',
    'json',
    '{\n  "mcpServers": {\n    "a": { "command": "x" } // first\n  }\n}\n',
    add(),
    '{\n  "mcpServers": {\n    "a": { "command": "x" }, // first\n    "b": {\n      "command": "npx",\n      "args": ["-y", "b"]\n    }\n  }\n}\n',
  ],
  [
    'JSON: where a trailing comma is the habit',
    'json',
    '{\n\t"mcpServers": {\n\t\t"a": { "command": "x" },\n\t},\n}\n',
    add('b', { url: 'http://h' }),
    '{\n\t"mcpServers": {\n\t\t"a": { "command": "x" },\n\t\t"b": { "url": "http://h" },\n\t},\n}\n',
  ],
  ['JSON: into an empty object', 'json', '{ "mcpServers": {} }', add('b', { url: 'h' }), ''],
  [
    'JSON: on one line',
    'json',
    '{"mcpServers":{"a":{"command":"x"}}}',
    add(),
    '{"mcpServers":{"a":{"command":"x"}, "b": { "command": "npx", "args": ["-y", "b"] }}}',
  ],
  ['JSON: without the key of the servers', 'json', '{\n  // mine\n  "holdfast": {}\n}\n', add(), ''],
  [
    'JSON: into comments alone',
    'json',
    '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
    add('b', {}),
    '{\n  "mcpServers": {\n    // none yet\n    "b": {}\n  }\n}\n',
  ],
  ['JSON: into an empty file', 'json', '', add('b', {}), '{\n  "mcpServers": {\n    "b": {}\n  }\n}\n'],
  [
    'JSON: out of the middle, with the comments in it and behind it alone',
    'json',
    '{\n  "mcpServers": {\n    "a": {}, // A\n    // above b\n    "b": {\n      // inside\n      "command": "x"\n    }, // B\n    // above c\n    "c": {}\n  }\n}\n',
    remove('b'),
    '{\n  "mcpServers": {\n    "a": {}, // A\n    // above b\n    // above c\n    "c": {}\n  }\n}\n',
  ],
  [
    'JSON: the last one, with the comma before it',
    'json',
    '{\n  "mcpServers": {\n    "a": {}, // A\n    "b": {}\n  }\n}\n',
    remove('b'),
    '{\n  "mcpServers": {\n    "a": {} // A\n  }\n}\n',
  ],
  [
    'JSON: the first on one line',
    'json',
    '{ "mcpServers": { "a": {}, "b": {} } }',
    remove('a'),
    '{ "mcpServers": { "b": {} } }',
  ],
  [
    'JSON: the last on one line',
    'json',
    '{ "mcpServers": { "a": {}, "b": {} } }',
    remove('b'),
    '{ "mcpServers": { "a": {} } }',
  ],
  [
    'JSON: a key deep inside',
    'json',
    '{\n  "mcpServers": {\n    "a": {\n      "command": "x" // X\n    }\n  }\n}\n',
    disable('a'),
    '{\n  "mcpServers": {\n    "a": {\n      "command": "x", // X\n      "holdfast": { "enabled": false }\n    }\n  }\n}\n',
  ],
  [
    'YAML: behind the last server',
    'yaml',
    'mcpServers:\n    a:\n        command: x   # X\n\n# ours\nholdfast:\n    listen: {port: 1}\n',
    add(),
    'mcpServers:\n    a:\n        command: x   # X\n    b:\n      command: npx\n      args:\n        - -y\n        - b\n\n# ours\nholdfast:\n    listen: {port: 1}\n',
  ],
  [
    'YAML: under a key with nothing in it',
    'yaml',
    '# top\nmcpServers: # none\nholdfast: {}\n',
    add('b', { url: 'http://h' }),
    '# top\nmcpServers: # none\n  b:\n    url: http://h\nholdfast: {}\n',
  ],
  ['YAML: into an empty map', 'yaml', 'mcpServers: {} # none\n', add('b', { url: 'http://h' }), ''],
  [
    'YAML: into a file of comments',
    'yaml',
    '# nothing yet\n',
    add('b', { url: 'http://h' }),
    '# nothing yet\nmcpServers:\n  b:\n    url: http://h\n',
  ],
  [
    'YAML: out of the middle',
    'yaml',
    'mcpServers:\n  a: {command: x} # A\n  # above b\n  b:\n    command: "y"\n    args: [ 1,2 ]\n  # above c\n  c: {command: z}\n',
    remove('b'),
    'mcpServers:\n  a: {command: x} # A\n  # above b\n  # above c\n  c: {command: z}\n',
  ],
  [
    'YAML: the only one',
    'yaml',
    'mcpServers: # S\n  a:\n    command: x\nholdfast: {}\n',
    remove('a'),
    'mcpServers: {} # S\nholdfast: {}\n',
  ],
  [
    'YAML: a key deep inside',
    'yaml',
    'mcpServers:\n  a:\n    command: x # X\n  b: {command: y}\n',
    disable('a'),
    'mcpServers:\n  a:\n    command: x # X\n    holdfast:\n      enabled: false\n  b: {command: y}\n',
  ],
  [
    'TOML: at the end',
    'toml',
    '# top\n[mcpServers.a] # A\ncommand = "x"\n',
    add(),
    '# top\n[mcpServers.a] # A\ncommand = "x"\n\n[mcpServers.b]\ncommand = "npx"\nargs = [ "-y", "b" ]\n',
  ],
  [
    'TOML: with its tables, and without the comments of the next one',
    'toml',
    '[mcpServers.a]\ncommand = "x"\n\n[mcpServers.a.env]\nK = "v" # K\n\n# about b\n[mcpServers.b]\ncommand = "y"\n',
    remove('a'),
    '# about b\n[mcpServers.b]\ncommand = "y"\n',
  ],
  [
    'TOML: a key of an own table',
    'toml',
    '[mcpServers.a]\ncommand = "x"\n\n# about b\n[mcpServers.b]\ncommand = "y"\n',
    disable('a'),
    '[mcpServers.a]\ncommand = "x"\n\n[mcpServers.a.holdfast]\nenabled = false\n\n# about b\n[mcpServers.b]\ncommand = "y"\n',
  ],
  [
    'TOML: a key of a table with a quoted name',
    'toml',
    '[mcpServers."a.b"]\ncommand = "x"\n',
    disable('a.b'),
    '[mcpServers."a.b"]\ncommand = "x"\n\n[mcpServers."a.b".holdfast]\nenabled = false\n',
  ],
  [
    'TOML: a value that stands there',
    'toml',
    '[mcpServers.a]\ncommand = "x"\n[mcpServers.a.holdfast]\nenabled = true # on\n',
    disable('a'),
    '[mcpServers.a]\ncommand = "x"\n[mcpServers.a.holdfast]\nenabled = false # on\n',
  ],
]

describe('an edit', () => {
  test.each(ROWS)('%s', (_what, dialect, text, change, expected) => {
    const edited = editText(text, dialect, [change])
    if (expected !== '') expect(edited).toBe(expected)
    const { value, faults } = parseText(edited ?? '', dialect)
    expect(faults).toEqual([])
    const [name = '', ...rest] = change.path.slice(1).map(String)
    const servers = (value as { mcpServers: Record<string, unknown> }).mcpServers
    if (rest.length === 0) expect(servers[name]).toEqual(change.value)
    // With Windows' line ends it is the same.
    if (!text.includes('\n')) return
    const windows = editText(text.replaceAll('\n', '\r\n'), dialect, [change])
    expect(windows).toBe(edited?.replaceAll('\n', '\r\n'))
  })

  test.each<[Dialect, string, Change]>([
    ['toml', 'mcpServers = { a = { command = "x" } }\n', remove('a')],
    ['toml', 'mcpServers = { a = { command = "x" } }\n', add()],
    ['toml', 'mcpServers.a.command = "x"\n', remove('a')],
    [
      'toml',
      '[mcpServers.a]\ncommand = """\n[mcpServers.b]\n"""\n[mcpServers.b]\ncommand = "x"\n',
      remove('b'),
    ],
    ['yaml', 'x: &x {a: {command: y}}\nmcpServers: *x\n', remove('a')],
    ['json', '{"mcpServers": []}', add()],
  ])('of %s that cannot be made without a loss is not made: %s', (dialect, text, change) => {
    expect(editText(text, dialect, [change])).toBeNull()
  })

  test('keeps the mark in front and a text without an end of line', () => {
    expect(editText('\uFEFF{"mcpServers":{}}', 'json', [add('b', {})])?.startsWith('\uFEFF{')).toBe(true)
    expect(editText('mcpServers:\n  a:\n    url: h', 'yaml', [add('b', { url: 'i' })])).toBe(
      'mcpServers:\n  a:\n    url: h\n  b:\n    url: i\n',
    )
  })

  const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,7}$/)
  const entry = fc.oneof(
    fc.record({ command: fc.string({ minLength: 1 }), args: fc.array(fc.string()) }),
    fc.record({ url: fc.webUrl(), headers: fc.dictionary(word, fc.string()) }),
  )
  test.each<Dialect>(['json', 'yaml', 'toml'])('of %s is undone by its opposite', dialect => {
    fc.assert(
      fc.property(fc.uniqueArray(word, { maxLength: 4 }), word, entry, (names, name, value) => {
        fc.pre(!names.includes(name))
        let text: string | null = dialect === 'json' ? '{}\n' : ''
        for (const known of names) text = editText(text ?? '', dialect, [add(known, { command: known })])
        const before = parseText(text ?? '', dialect).value
        const added = editText(text ?? '', dialect, [add(name, value)])
        expect(added).not.toBeNull()
        const removed = editText(added ?? '', dialect, [remove(name)])
        expect(parseText(removed ?? '', dialect).value ?? {}).toEqual(
          names.length === 0 && dialect !== 'toml' ? { mcpServers: {} } : (before ?? {}),
        )
      }),
      { numRuns: 40 },
    )
  })
})

test('a diff has the lines that differ, and two around them', () => {
  expect(diffLines('1\n2\n3\n4\n5\n6\n', '1\n2\n3\nx\n4\n5\n6\n')).toEqual([
    '@@ line 2 @@',
    ' 2',
    ' 3',
    '+x',
    ' 4',
    ' 5',
  ])
  expect(diffLines('a\nb\n', 'a\nc\n')).toEqual(['@@ line 1 @@', ' a', '-b', '+c'])
  expect(diffLines('', 'a\n')).toEqual(['@@ line 1 @@', '+a'])
  expect(diffLines('a\n', 'a\n')).toEqual([])
})
