import { type Parsed, syntaxFault, unparsable, withoutPrototypes } from './parsed.js'
import { toml } from './parsers.js'

/** The library gives positions for syntax only; faults further on are told by key alone. */
export function parseToml(text: string): Parsed {
  try {
    const value = withoutPrototypes(toml().parse(text))
    return { value, faults: [], locate: () => undefined, keysOf: () => undefined }
  } catch (thrown) {
    if (!(thrown instanceof toml().TomlError)) throw thrown
    // The lines below the first quote the text, which may be a secret.
    const said = (thrown.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '')
    const position = { line: thrown.line, column: thrown.column }
    const fix = said.includes('redefine') ? 'rename or remove one of the two' : undefined
    return unparsable([syntaxFault(`not valid TOML: ${said}`, position, fix)])
  }
}
