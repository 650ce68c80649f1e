// npm run ok: the one gate. Every part runs even when one before it failed; any failure fails it.
import { build, install, launch, part, requireNode, tool } from './prepare.mjs';

const checks = [
  ['format (oxfmt)', () => tool('oxfmt/bin/oxfmt', ['--check', '.'])],
  ['types (tsc)', build],
  [
    'lint (oxlint, type-aware)',
    () => tool('oxlint/bin/oxlint', ['--type-aware', '--deny-warnings', '.']),
  ],
  ['dead code (knip)', () => tool('knip/bin/knip.js', [])],
  ['tidiness (test/tidy)', () => tool('vitest/vitest.mjs', ['run', 'dist/test/tidy'])],
];

await launch(async () => {
  requireNode();
  await install();
  const failed = [];
  for (const [name, check] of checks) {
    try {
      await part(name, check);
    } catch (error) {
      console.error(error.message);
      failed.push(name);
    }
  }
  console.log(failed.length === 0 ? 'ok' : `not ok: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
});
