// The last step of the build: the JSON Schema for editors, as it is published.
import { writeFileSync } from 'node:fs'
import { jsonSchema } from '../dist/config/json-schema.js'

const target = new URL('../dist/config.schema.json', import.meta.url)
writeFileSync(target, `${JSON.stringify(jsonSchema(), null, 2)}\n`)
