// The command line in one file: of what a start of it costs, the loading of hundreds of small files is a third.
import { rmSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const at = path => fileURLToPath(new URL(`../dist/${path}`, import.meta.url))

const bundle = await rolldown({
  input: at('cli/main.js'),
  platform: 'node',
  // Packages stay packages: they are updated and audited on their own.
  external: id => !id.startsWith('.') && !isAbsolute(id),
  onLog: (_level, { message }) => {
    throw new Error(message)
  },
})
await bundle.write({ file: at('holdfast.js'), format: 'esm', comments: false })
await bundle.close()
// The library has no use for its parts.
rmSync(at('cli'), { recursive: true })
