import { act, tell } from './act.js'
import { type SwitchOptions, saveSwitch } from './save-switch.js'

/** Ends a server and refuses calls to it; with `--save` for good, else until the gateway ends. */
export async function disable(name: string, options: SwitchOptions): Promise<number> {
  const run = async () => tell(await act('disable', name, options), options)
  return options.save ? saveSwitch(name, false, options, run) : run()
}
