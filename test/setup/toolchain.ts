/** Which suites can run on this machine: some need more than Node. */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

export type Toolchain = 'temporal' | 'time-skipping' | 'schemathesis' | 'go' | 'python3' | 'cc';

/** Found before the tests, and named by a variable of their environment. */
const variables: Readonly<Partial<Record<Toolchain, string>>> = {
  temporal: 'QUORUMSHIFT_TEMPORAL_BIN',
  schemathesis: 'QUORUMSHIFT_SCHEMATHESIS',
  'time-skipping': 'QUORUMSHIFT_TIME_SKIPPING',
};

/**
 * For `describe.skipIf(missing('go'))`. `npm test` has named the missing ones on the screen before.
 * @throws Error in CI, where a skip would hide a hole
 */
export function missing(toolchain: Toolchain): boolean {
  const variable = variables[toolchain];
  const there = variable === undefined ? onPath(toolchain) : process.env[variable] !== undefined;
  const required =
    process.env['CI'] === 'true' || process.env['QUORUMSHIFT_REQUIRE_TOOLCHAINS'] === '1';
  if (!there && required) throw new Error(`this suite needs ${toolchain}, which is not here`);
  return !there;
}

function onPath(program: string): boolean {
  const directories = (process.env['PATH'] ?? '').split(delimiter).filter((path) => path !== '');
  return directories.some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
