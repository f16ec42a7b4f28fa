import type { GatewayStatus, Health } from './status.js'

/** `GET /api/v1/health`: how the servers do, all together. The gateway itself is asked at `/healthz` and `/readyz`. */
export interface OverallHealth {
  /** `unhealthy` = none of them works, `degraded` = some do not, or not whole. Unused and disabled ones do not count. */
  readonly health: 'healthy' | 'degraded' | 'unhealthy'
  readonly upstreams: Readonly<Record<string, Health>>
}

export function healthOf({ upstreams }: GatewayStatus): OverallHealth {
  const known = upstreams.map(({ health }) => health).filter(health => health !== 'unknown')
  const down = known.filter(health => health === 'unhealthy').length
  const whole = known.every(health => health === 'healthy')
  const none = known.length > 0 && down === known.length
  return {
    health: whole ? 'healthy' : none ? 'unhealthy' : 'degraded',
    upstreams: Object.fromEntries(upstreams.map(({ name, health }) => [name, health])),
  }
}
