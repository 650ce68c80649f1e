/** The moments between the calls of an undisturbed migration: each can be gone back to. */
import type { StateDump } from '../../storage/testing/state-dump.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
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

/** Who comes after a crash: the agent's next attempt of the same call, or a new workflow. */
export type Successor = 'next attempt' | 'new lease';

export function driverOf(
  run: UndisturbedRun,
  files: FileLayer,
  memory?: WorkflowMemory,
): MachineDriver {
  return new MachineDriver(machineContext(files), run.scenario, memory);
}

/** Without those before which it went as another scenario goes. */
export function ownMoments({ scenario, moments }: UndisturbedRun): readonly Moment[] {
  const { ownFrom } = scenario;
  if (ownFrom === undefined) return moments;
  return moments.slice(
    moments.findIndex(({ call }) => (call.kind === 'step' ? call.phase : call.kind) === ownFrom),
  );
}

/**
 * The call again as the second attempt of its workflow, or a new workflow up to and with its step.
 */
export async function succeed(
  run: UndisturbedRun,
  { files, moment, by }: { files: FileLayer; moment: Moment; by: Successor },
): Promise<MachineDriver> {
  if (by === 'next attempt') {
    const driver = driverOf(run, files, moment.memory);
    await driver.perform(moment.call, 2);
    return driver;
  }
  const driver = driverOf(run, files);
  await driver.perform(await driver.next('claim-2'));
  return driver;
}

/** A new workflow takes the replica, is told at once to roll back, and comes to the end. */
export async function rollBackNow(run: UndisturbedRun, files: FileLayer): Promise<void> {
  const driver = driverOf(run, files);
  await driver.perform(await driver.next('claim-2'));
  const { view, step } = driver.memory;
  if (view === null) throw new Error('a replica that was taken has a record');
  await driver.perform({ kind: 'rollback', lease: view.lease, step: step + 1 });
  await driver.drive();
}
