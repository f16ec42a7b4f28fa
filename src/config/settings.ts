import { parseDuration } from './durations.js'
import type { GatewaySettings } from './faults.js'
import type { HoldfastOptions } from './schema.js'

export const DEFAULT_SETTINGS: GatewaySettings = {
  listen: { host: '127.0.0.1', port: 7400 },
  auth: { mode: 'none' },
  allowedHosts: [],
  allowedOrigins: [],
  shutdownTimeoutMs: 30_000,
}

export function settingsFrom(options: HoldfastOptions): GatewaySettings {
  return {
    listen: { ...DEFAULT_SETTINGS.listen, ...options.listen },
    auth: { mode: options.auth?.mode ?? DEFAULT_SETTINGS.auth.mode },
    allowedHosts: options.allowedHosts ?? [],
    allowedOrigins: options.allowedOrigins ?? [],
    shutdownTimeoutMs: parseDuration(options.shutdownTimeout) ?? DEFAULT_SETTINGS.shutdownTimeoutMs,
  }
}
