import { defineConfig } from 'vitest/config';

// Tests run as compiled by `npm run build`, so that worker threads, spawned processes and the
// workflow bundle are the files that ship.
export default defineConfig({
  test: {
    include: ['dist/test/**/*.test.js'],
    // Long campaigns, by QUORUMSHIFT_LONG=1; docs/status.md says what is open in them.
    exclude:
      process.env['QUORUMSHIFT_LONG'] === '1'
        ? []
        : ['dist/test/e2e/kill.test.js', 'dist/test/e2e/validation-failure.test.js'],
    globalSetup: ['dist/test/setup/global-setup.js'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
