import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    pool: 'forks',
    // Most tests wait for processes and timers of others.
    maxWorkers: 4,
    // To find what hangs, also on a busy machine; how long something may take is asserted where it matters.
    testTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } },
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    setupFiles: ['test/kit/own-state.ts'],
    globalSetup: ['test/kit/global-setup.ts'],
  },
})
