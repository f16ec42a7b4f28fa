import type { OwnedListing, Result } from '../library.js'
import { escapeControls } from '../observe/index.js'
import { findRunning, withOwnGateway } from './catalog-source.js'
import { CommandFailure, EXIT } from './exit.js'
import { type RemoteOptions, readControl } from './remote.js'
import { print, say, type TalkOptions } from './talk.js'
import { painter, widthOf, wrap } from './terminal.js'

export interface ToolsOptions extends TalkOptions, RemoteOptions {}

/** The tools of all servers, or of one, under their public names. Works without a running gateway too. */
export async function tools(name: string | undefined, options: ToolsOptions): Promise<number> {
  const base = await findRunning(options)
  const listing = base ? await readListing(base) : await ownListing(options)
  const owners = listing.servers
  if (name !== undefined && !owners.includes(name)) {
    throw new CommandFailure(
      EXIT.failed,
      `No server named "${name}" is configured. There is: ${owners.join(', ')}.`,
    )
  }
  const shown = listing.tools
    .filter(tool => name === undefined || tool.server === name)
    .map(entry => entry.tool)
  if (options.json) print(JSON.stringify({ tools: shown, unavailable: listing.unavailable }, null, 2))
  else printTools(shown, listing.unavailable, options)
  return EXIT.ok
}

async function readListing(base: string): Promise<OwnedListing> {
  const listing = await readControl<OwnedListing>(base, '/api/v1/tools')
  if (!listing) throw new CommandFailure(EXIT.unreachable, `The gateway at ${base} stopped answering.`)
  return listing
}

function ownListing(options: ToolsOptions): Promise<OwnedListing> {
  return withOwnGateway(options, 'The listing was interrupted.', async gateway => {
    // A list is what wakes the lazy ones.
    await gateway.listTools()
    await gateway.settled()
    return gateway.catalog()
  })
}

function printTools(
  shown: readonly Result[],
  unavailable: OwnedListing['unavailable'],
  { quiet }: ToolsOptions,
): void {
  const paint = painter(process.stdout)
  const width = widthOf(process.stdout)
  for (const tool of shown) {
    print(paint('bold', escapeControls(String(tool['name']))))
    const text = typeof tool['description'] === 'string' ? (tool['description'].split('\n')[0] ?? '') : ''
    if (text && !quiet) for (const line of wrap(escapeControls(text), width - 4)) print(`    ${line}`)
  }
  for (const { upstream, reason } of unavailable) say(`${upstream} is missing: ${escapeControls(reason)}`)
}
