import { actAndWatch, tell } from './act.js'
import { type SwitchOptions, saveSwitch } from './save-switch.js'

/** Takes a disabled server back in and starts it; with `--save` for good, else until the gateway ends. */
export async function enable(name: string, options: SwitchOptions): Promise<number> {
  const act = async () => tell(await actAndWatch('enable', name, options), options)
  return options.save ? saveSwitch(name, true, options, act) : act()
}
