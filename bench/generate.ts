/**
 * Makes a braft directory by seed:
 *
 *     node dist/bench/generate.js --bytes 64MiB --entry-bytes 1024 --kind text --out /tmp/a
 *     quorumshift inspect local:///tmp/a
 */
import { parseArgs } from 'node:util';

import { writeBraftDirectory } from './braft-directory.ts';
import { parseByteSize } from './byte-size.ts';

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '64MiB' },
    'entry-bytes': { type: 'string', default: '1024' },
    kind: { type: 'string', default: 'text' },
    seed: { type: 'string', default: '1' },
    'snapshot-files': { type: 'string' },
    out: { type: 'string' },
  },
});

const { kind, out } = values;
if (out === undefined) throw new TypeError('--out <directory> is missing');
if (kind !== 'text' && kind !== 'random') throw new TypeError('--kind is text or random');
const snapshotFiles = values['snapshot-files'];
const made = writeBraftDirectory({
  directory: out,
  bytes: parseByteSize(values.bytes),
  entryBytes: parseByteSize(values['entry-bytes']),
  kind,
  seed: Number(values.seed),
  ...(snapshotFiles !== undefined && { snapshotFiles: Number(snapshotFiles) }),
});
console.log(`${out}: entries ${made.firstIndex}..${made.lastIndex}, term ${made.term}`);
