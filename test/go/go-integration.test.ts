import { describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import { go } from './go-module.ts';

/** The first build with the race detector compiles gRPC. */
const firstBuildMs = 300_000;

describe.skipIf(missing('go'))('the Go modules', () => {
  test.each(['integrations/go', 'examples/hashicorp-raft', 'test/go/kv-history', 'bench/load'])(
    '%s: go vet finds nothing',
    async (module) => {
      expect(await go(module, ['vet', './...'])).toEqual({ code: 0, output: '' });
    },
    firstBuildMs,
  );

  test(
    'integrations/go: its tests pass under the race detector',
    async () => {
      const { code, output } = await go('integrations/go', ['test', '-race', './...']);
      expect(code, output).toBe(0);
    },
    firstBuildMs,
  );

  test(
    'test/go/kv-history: its checker tells histories that are linearizable from others [I17]',
    async () => {
      const { code, output } = await go('test/go/kv-history', ['test', './...']);
      expect(code, output).toBe(0);
    },
    firstBuildMs,
  );
});
