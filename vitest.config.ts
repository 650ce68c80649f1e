import { defineConfig } from 'vitest/config';

// Tests run as compiled by `npm run build`, so that worker threads, spawned processes and the
// workflow bundle are the files that ship.
export default defineConfig({
  test: {
    include: ['dist/test/**/*.test.js'],
    globalSetup: ['dist/test/setup/global-setup.js'],
    pool: 'forks',
    maxWorkers: 2,
    // More than what a test waits for: what it has seen by then is shown.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
