import type { UpstreamStatus } from '../control/index.js'
import { isGatewayError } from '../model/index.js'
import { type ActOptions, act, tell } from './act.js'
import { findRunning, withOwnGateway } from './catalog-source.js'
import { CommandFailure, EXIT } from './exit.js'

/**
 * Takes the tools and prompts of a server as they are described now: those named, or all that wait for it. Works without
 * a running gateway too, because pins outlive it.
 */
export async function approve(name: string, tools: readonly string[], options: ActOptions): Promise<number> {
  if ((await findRunning(options)) === null) return tell(await approveAlone(name, tools, options), options)
  const query = tools.map(tool => `tool=${encodeURIComponent(tool)}`).join('&')
  return tell(await act(query === '' ? 'approve' : `approve?${query}`, name, options), options)
}

function approveAlone(name: string, tools: readonly string[], options: ActOptions): Promise<UpstreamStatus> {
  return withOwnGateway(options, 'Nothing was approved.', async gateway => {
    try {
      const upstream = gateway.upstream(name)
      await gateway.settled()
      return await upstream.approve(tools)
    } catch (thrown) {
      if (isGatewayError(thrown)) throw new CommandFailure(EXIT.failed, thrown.message)
      throw thrown
    }
  })
}
