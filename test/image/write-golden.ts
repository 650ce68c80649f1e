/**
 * Writes the golden images that are missing: `node dist/test/image/write-golden.js`. One that is
 * there and differs stays, and is named: a new format gets a new version and new files.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';

import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { isErrno } from '../../storage/files.ts';
import { goldenStates } from './golden-states.ts';
import { imageOf } from './sample-state.ts';

const directory = 'test/golden';

async function writeOnce(path: string, bytes: Buffer): Promise<void> {
  try {
    await writeFile(path, bytes, { flag: 'wx' });
    console.log(`wrote ${path}`);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    const same = (await readFile(path)).equals(bytes);
    console.log(`${same ? 'unchanged' : 'DIFFERENT, not replaced'}: ${path}`);
    if (!same) process.exitCode = 1;
  }
}

await mkdir(directory, { recursive: true });
for (const [name, make] of Object.entries(goldenStates)) {
  const instance = await make();
  const { root, parts } = await digestInstance(instance);
  await writeOnce(`${directory}/${name}-1.0.image`, await imageOf(instance));
  const text = `${JSON.stringify({ root, ...parts }, null, 2)}\n`;
  await writeOnce(`${directory}/${name}-1.0.digest.json`, Buffer.from(text));
}
