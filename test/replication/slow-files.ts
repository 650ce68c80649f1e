/**
 * A file layer that is slower than its neighbour by a seeded number of turns for each call: then
 * one side of a pair is ahead of the other when the machine stops.
 */
import { setImmediate } from 'node:timers/promises';

import type { FileHandle, FileLayer } from '../../storage/file-layer.ts';
import type { SeededRandom } from '../../storage/testing/seeded-random.ts';

const mostTurns = 60;

/**
 * @param options.reads reading takes turns of the event loop too: others write meanwhile
 */
export function slowFiles(
  files: FileLayer,
  random: SeededRandom,
  options: { readonly reads?: boolean } = {},
): FileLayer {
  const turn = async () => {
    for (let turns = random.below(3); turns > 0; turns -= 1) await setImmediate();
  };
  const slow = <Arguments extends readonly unknown[], Result>(
    call: (...given: Arguments) => Promise<Result>,
  ) => {
    return async (...given: Arguments): Promise<Result> => {
      for (let turns = random.below(mostTurns); turns > 0; turns -= 1) await Promise.resolve();
      return call(...given);
    };
  };
  const handle = (file: FileHandle): FileHandle => ({
    read: async (...given) => {
      if (options.reads === true) await turn();
      return file.read(...given);
    },
    write: slow((bytes, position) => file.write(bytes, position)),
    truncate: slow((bytes) => file.truncate(bytes)),
    sync: slow(() => file.sync()),
    size: () => file.size(),
    close: () => file.close(),
  });
  return {
    open: slow(async (...given) => handle(await files.open(...given))),
    list: (path) => files.list(path),
    stat: (path) => files.stat(path),
    makeDirectory: slow((path) => files.makeDirectory(path)),
    removeFile: slow((path) => files.removeFile(path)),
    removeDirectory: slow((path) => files.removeDirectory(path)),
    rename: slow((from, to) => files.rename(from, to)),
    exchange: slow((a, b) => files.exchange(a, b)),
    syncDirectory: slow((path) => files.syncDirectory(path)),
    lock: (path, kind) => files.lock(path, kind),
    realPath: (path) => files.realPath(path),
  };
}
