import { CrashFileLayer } from './crash-file-layer.ts';

export interface CrashCase<Context> {
  readonly seed: number;
  /** Makes the state before; what it leaves unsynced is at stake too. */
  prepare(files: CrashFileLayer): Promise<Context>;
  /** What is stopped at each of its operations in turn, and once more right after the last. */
  run(files: CrashFileLayer, context: Context): Promise<void>;
  /**
   * Looks at what one crash left; throws when it is not allowed.
   * @param at.ended whether `run` had resolved: then all that it promised must be there
   */
  check(
    survivor: CrashFileLayer,
    at: { readonly k: number; readonly ended: boolean; readonly context: Context },
  ): Promise<void>;
}

/** Different losses looked at for each place of the crash. */
const lossesPerPlace = 8;

/**
 * Runs `run` with a crash at every one of its operations, and checks several survivors of each. A
 * failure's message says place, seed and tree.
 * @returns the number of operations of an undisturbed run
 */
export async function everyCrash<Context>(crashCase: CrashCase<Context>): Promise<number> {
  for (let k = 1; ; k += 1) {
    const files = new CrashFileLayer(crashCase.seed + k);
    const context = await crashCase.prepare(files);
    const before = files.operations;
    files.crashAt(k);
    const ended = await resolves(crashCase.run(files, context), files);
    const crashed = files.crashed;
    for (let loss = 0; loss < lossesPerPlace; loss += 1) {
      const seed = crashCase.seed + k * lossesPerPlace + loss;
      const survivor = files.afterCrash(seed);
      const found = survivor.dump();
      try {
        await crashCase.check(survivor, { k, ended, context });
      } catch (cause) {
        const place = ended ? 'after the end' : `at operation ${k}`;
        throw new Error(`crash ${place}, seed ${seed}, left:\n${found}\nbut: ${String(cause)}`, {
          cause,
        });
      }
    }
    if (!crashed) return files.operations - before;
  }
}

/**
 * Whether the run resolved. What it throws once the machine has stopped is what its caller would
 * never see.
 */
async function resolves(run: Promise<void>, files: CrashFileLayer): Promise<boolean> {
  try {
    await run;
    return true;
  } catch (error) {
    if (files.crashed) return false;
    throw error;
  }
}
