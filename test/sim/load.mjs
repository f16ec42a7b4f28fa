import { createViteServer } from 'vitest/node'

/**
 * Loads the simulator and the gateway's sources as they stand, without a build.
 * @param {{ name: string, transform(code: string, id: string): string | null }[]} plugins change sources on their way in
 */
export async function loadSimulator(plugins = []) {
  const server = await createViteServer({
    root: new URL('../..', import.meta.url).pathname,
    configFile: false,
    logLevel: 'error',
    appType: 'custom',
    cacheDir: undefined,
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: [] },
    plugins,
  })
  const [simulation, render] = await Promise.all([
    server.ssrLoadModule('/test/sim/simulation.ts'),
    server.ssrLoadModule('/test/sim/render.ts'),
  ])
  return { simulate: simulation.simulate, ...render, close: () => server.close() }
}
