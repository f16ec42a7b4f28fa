import { type ActOptions, act, tell } from './act.js'

/** Takes the tools and prompts of a server as they are described now: those named, or all that wait for it. */
export async function approve(name: string, tools: readonly string[], options: ActOptions): Promise<number> {
  const query = tools.map(tool => `tool=${encodeURIComponent(tool)}`).join('&')
  return tell(await act(query === '' ? 'approve' : `approve?${query}`, name, options), options)
}
