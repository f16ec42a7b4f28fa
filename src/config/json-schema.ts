import { z } from 'zod'
import { holdfastSchema, serverSchema } from './schema.js'

/** An entry says where its server is; what else it may hold, other clients know. */
const entry = serverSchema.meta({
  title: 'A server',
  description: 'A program ("command") or a remote server ("url").',
  anyOf: [
    { required: ['command'] },
    { required: ['url'] },
    { required: ['serverUrl'] },
    { required: ['httpUrl'] },
  ],
})
const entries = z.record(z.string(), entry).meta({
  description: 'The servers by name.',
  propertyNames: { type: 'string', pattern: '^(?!.*__)[A-Za-z0-9_-][A-Za-z0-9_.-]*$' },
})

const file = z.looseObject({
  $schema: z.string().optional().describe('Address of this schema, for editors.'),
  mcpServers: entries.optional(),
  servers: entries.optional().meta({ description: 'The same as mcpServers, as VS Code calls it.' }),
  holdfast: holdfastSchema.optional().describe('Options of Holdfast itself.'),
})

/** JSON Schema of a config file, for editors. The build writes it into the package as `config.schema.json`. */
export function jsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(file, {
    io: 'input',
    unrepresentable: 'any',
    // Editors show the title above the description.
    override: ({ jsonSchema: own, path }) => {
      if (path.at(-2) === 'properties') own.title ??= String(path.at(-1))
    },
  })
  return {
    $schema: schema.$schema,
    title: 'Holdfast configuration',
    description: 'MCP servers, as other clients have them, and options of Holdfast under "holdfast".',
    ...schema,
    anyOf: [{ required: ['mcpServers'] }, { required: ['servers'] }],
  }
}
