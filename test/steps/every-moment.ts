/** The moments between the calls of an undisturbed migration: each can be gone back to. */
import type { StateDump } from '../../storage/testing/state-dump.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { machineContext, MachineDriver, type Call, type WorkflowMemory } from './machine-driver.ts';
import { bytesOfA, namesOf, recordStoreOf } from './machine-invariants.ts';
import { dumpOf, makeSource, type ExpectedScenario } from './machine-scenarios.ts';

/** Just before `call`; `files()` gives a machine of its own each time. */
export interface Moment {
  readonly call: Call;
  readonly memory: WorkflowMemory;
  readonly revision: number;
  files(seed: number): CrashFileLayer;
}

export interface UndisturbedRun {
  readonly scenario: ExpectedScenario;
  readonly moments: readonly Moment[];
  readonly stateBefore: StateDump;
  readonly sourceBytes: readonly Record<string, string>[];
  /** Every name under the data directories at the end. */
  readonly namesAtEnd: readonly string[];
}

export async function everyMoment(
  scenario: ExpectedScenario,
  { seed, snapshot = true }: { seed: number; snapshot?: boolean },
): Promise<UndisturbedRun> {
  let files = new CrashFileLayer(seed);
  await makeSource(files, { snapshot });
  const stateBefore = await dumpOf(files, scenario.input.source);
  const sourceBytes = await bytesOfA(files);
  const moments: Moment[] = [];
  let memory: WorkflowMemory | undefined;
  for (;;) {
    const driver = new MachineDriver(machineContext(files), scenario, memory);
    if (driver.ended) break;
    const call = await driver.next();
    const revision = (await recordStoreOf(files).read())?.revision ?? 0;
    const stopped = files;
    moments.push({
      call,
      memory: driver.memory,
      revision,
      files: (from) => stopped.afterCrash(from),
    });
    files = stopped.afterCrash(seed);
    const next = new MachineDriver(machineContext(files), scenario, driver.memory);
    await next.perform(call);
    memory = next.memory;
  }
  return { scenario, moments, stateBefore, sourceBytes, namesAtEnd: await namesOf(files) };
}
