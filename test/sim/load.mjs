import { fileURLToPath } from 'node:url'
import { createViteServer } from 'vitest/node'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The sources of one gateway of its own: each load has modules of its own. */
export async function loadSimulator(changes = []) {
  const server = await createViteServer({
    root: ROOT,
    configFile: false,
    logLevel: 'error',
    appType: 'custom',
    server: { middlewareMode: true, hmr: false, ws: false, watch: null },
    optimizeDeps: { noDiscovery: true, include: [] },
    plugins: [
      { name: 'changed-sources', enforce: 'pre', transform: (code, id) => changed(code, id, changes) },
    ],
  })
  const [{ simulate }, { renderReport, renderHistory }] = await Promise.all([
    server.ssrLoadModule('/test/sim/simulation.ts'),
    server.ssrLoadModule('/test/sim/render.ts'),
  ])
  return { simulate, renderReport, renderHistory, close: () => server.close() }
}

function changed(code, id, changes) {
  const own = changes.filter(({ file }) => id === `${ROOT}${file}`)
  return own.length === 0 ? null : own.reduce((text, { change }) => change(text), code)
}
