// npm test: sets everything up on a fresh machine, then runs every test, or those that its
// arguments name (they go to vitest). Ends with "N passed, N failed" on a line of its own.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import {
  build,
  install,
  launch,
  LauncherError,
  onPath,
  part,
  program,
  requireNode,
  root,
  run,
  temporal,
  temporalEnvironment,
} from './prepare.mjs';

/** A skip is an error where every toolchain is supposed to be. */
const skipsAllowed =
  process.env.CI !== 'true' && process.env.QUORUMSHIFT_REQUIRE_TOOLCHAINS !== '1';

/** Says which suites cannot run here; test/setup/toolchain.ts makes them skip. */
function reportSkip(what, reason) {
  const line = `skipped: ${what}: ${reason}`;
  if (!skipsAllowed) throw new LauncherError(`${line} (an error in CI)`);
  console.log(line);
}

async function temporalForTests() {
  try {
    return temporalEnvironment(await temporal({ external: false }));
  } catch (error) {
    reportSkip('suites that need a Temporal server', error.message);
    return {};
  }
}

/** Programs that tests alone need, each installed by its module of test/setup/. */
async function installForTests(module, installer, suite) {
  const path = join(root, 'dist', 'test', 'setup', `${module}.js`);
  const installers = await import(pathToFileURL(path).href);
  try {
    await part(module, () => installers[installer](process.env));
  } catch (error) {
    reportSkip(suite, error.message);
  }
}

/** Runs vitest and counts; a run that broke without a failed test counts as one failure. */
async function runTests(env) {
  const scratch = mkdtempSync(join(tmpdir(), 'quorumshift-test-'));
  const report = join(scratch, 'report.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const args = [program('vitest/vitest.mjs'), 'run', ...reporters, ...process.argv.slice(2)];
    const code = await run(process.execPath, args, { env });
    return { code, ...countsIn(report, code) };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function countsIn(report, code) {
  try {
    const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, 'utf8'));
    return { passed: numPassedTests, failed: Math.max(numFailedTests, code === 0 ? 0 : 1) };
  } catch {
    return { passed: 0, failed: 1 };
  }
}

await launch(async () => {
  requireNode();
  await install();
  await build();
  const env = await temporalForTests();
  await installForTests('schemathesis', 'installSchemathesis', 'the suite that needs schemathesis');
  await installForTests('time-skipping', 'installTimeSkipping', 'suites that skip time');
  for (const name of ['go', 'python3', 'cc']) {
    if (!onPath(name)) reportSkip(`suites that need ${name}`, 'it is not on PATH');
  }
  const { code, passed, failed } = await part('tests', () => runTests(env));
  console.log(`${passed} passed, ${failed} failed`);
  return code;
});
