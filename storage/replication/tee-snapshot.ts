/** One snapshot written to several instances at once; each piece of bytes is held once. */
import { assert } from '../../core/errors.ts';
import { BytePipe } from '../byte-pipe.ts';
import type { SnapshotWriter } from '../contracts.ts';

type SnapshotBytes = Parameters<SnapshotWriter['file']>[1];
type SnapshotFileName = Parameters<SnapshotWriter['file']>[0];

/** How each writer ended; a failed one does not hold the others up. */
export async function writeFileToAll(
  writers: readonly SnapshotWriter[],
  file: SnapshotFileName,
  bytes: SnapshotBytes,
): Promise<readonly PromiseSettledResult<void>[]> {
  const [only] = writers;
  assert(only !== undefined, 'a snapshot has a writer');
  if (writers.length === 1) return Promise.allSettled([only.file(file, bytes)]);
  const pipes = writers.map(() => new BytePipe());
  const written = writers.map(async (writer, i) => {
    const pipe = pipes[i];
    assert(pipe !== undefined, 'each writer has its pipe');
    try {
      await writer.file(file, pipe.read());
    } catch (error) {
      pipe.fail(error);
      throw error;
    }
  });
  const settled = Promise.allSettled(written);
  const giveAll = (piece: Buffer | null) =>
    Promise.allSettled(pipes.map((pipe) => pipe.push(piece)));
  try {
    for await (const piece of bytes) await giveAll(asBuffer(piece));
  } catch (error) {
    // The giver failed: the writers must not take what they have for the whole file.
    for (const pipe of pipes) pipe.break(error);
    await settled;
    throw error;
  }
  await giveAll(null);
  return settled;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
