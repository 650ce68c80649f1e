/**
 * Opens paths as directories in a tight loop, as a replica that wants to get in does: `node
 * path-watcher.js <path…>`. At the end of its standard input it prints, for each path, what it saw
 * one after the other: `in` (a directory was opened), `fenced` (a file is there), `missing`.
 */
import { closeSync, constants, openSync } from 'node:fs';

import { isErrno } from '../../storage/files.ts';

type Sight = 'in' | 'fenced' | 'missing';

/** Openings between two looks for the end of the input. */
const burst = 200;

const seen = new Map(process.argv.slice(2).map((path): [string, Sight[]] => [path, []]));
let openings = 0;
let ended = false;
process.stdin.resume().once('end', () => (ended = true));
process.stdout.write('watching\n');
watch();

function watch(): void {
  for (let i = 0; i < burst; i += 1) {
    for (const [path, sights] of seen) {
      const sight = look(path);
      if (sights.at(-1) !== sight) sights.push(sight);
      openings += 1;
    }
  }
  if (ended) process.stdout.write(JSON.stringify({ openings, seen: Object.fromEntries(seen) }));
  else setImmediate(watch);
}

function look(path: string): Sight {
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_DIRECTORY));
    return 'in';
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return 'fenced';
    if (isErrno(error, 'ENOENT')) return 'missing';
    throw error;
  }
}
