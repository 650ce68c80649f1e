import { describe, it } from 'vitest';

import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { machineContext, MachineDriver } from './machine-driver.ts';
import { bytesOfA, checkEnd, checkMachine } from './machine-invariants.ts';
import { makeSource, scenarios } from './machine-scenarios.ts';

describe('a machine whose agent is never disturbed', () => {
  it.each(scenarios)('comes to the end of $name [OPS-1] [CUT-7]', async (scenario) => {
    const files = new CrashFileLayer(1);
    await makeSource(files);
    const sourceBytes = await bytesOfA(files);
    const driver = new MachineDriver(machineContext(files), scenario);
    let leastRevision = 0;
    while (!driver.ended) {
      await driver.perform(await driver.next());
      const record = await checkMachine({ files, sourceBytes, leastRevision });
      leastRevision = record?.revision ?? 0;
    }
    await checkEnd(files, scenario.expected);
  });
});
