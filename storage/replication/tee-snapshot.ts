/** One snapshot written to both sides at once; each piece of bytes is held once. */
import { BytePipe } from '../byte-pipe.ts';
import type { SnapshotWriter } from '../contracts.ts';
import { inTime } from './mirror-limit.ts';

type SnapshotBytes = Parameters<SnapshotWriter['file']>[1];
type SnapshotFileName = Parameters<SnapshotWriter['file']>[0];

export interface FileToBoth {
  readonly primary: SnapshotWriter;
  readonly mirror: SnapshotWriter;
  readonly file: SnapshotFileName;
  /** How much longer than the primary the mirror may take for a piece; null: for ever. */
  readonly limitMs: number | null;
  /** Told of all that the mirror is given to do: it may return after this has. */
  readonly given: (work: Promise<void>) => void;
}

/** How each side ended; a mirror that fails, or is too late, does not hold the primary up. */
export async function writeFileToBoth(
  { limitMs, file, given, ...writers }: FileToBoth,
  bytes: SnapshotBytes,
): Promise<Readonly<Record<'onPrimary' | 'onMirror', PromiseSettledResult<void>>>> {
  const primary = new Taker(writers.primary, file);
  const mirror = new Taker(writers.mirror, file);
  given(mirror.ended);
  const after = (part: Promise<void>) => ({ limitMs, after: part.catch(() => {}) });
  let failed: Promise<never> | null = null;
  const give = async (piece: Buffer | null) => {
    const onPrimary = primary.push(piece);
    const onMirror = inTime(mirror.push(piece), after(onPrimary));
    const [, mirrored] = await Promise.allSettled([onPrimary, onMirror]);
    if (mirrored.status === 'fulfilled' || failed !== null) return;
    failed = Promise.reject(mirrored.reason);
    failed.catch(() => {});
    mirror.giveUp(mirrored.reason);
  };
  const ended = () =>
    Promise.allSettled([primary.ended, failed ?? inTime(mirror.ended, after(primary.ended))]);
  try {
    for await (const piece of bytes) await give(asBuffer(piece));
  } catch (error) {
    // The giver failed: the writers must not take what they have for the whole file.
    for (const taker of [primary, mirror]) taker.giveUp(error);
    await ended();
    throw error;
  }
  await give(null);
  const [onPrimary, onMirror] = await ended();
  return { onPrimary, onMirror };
}

/** One side, which takes each piece once it has written the one before. */
class Taker {
  readonly ended: Promise<void>;
  readonly #pipe = new BytePipe();

  constructor(writer: SnapshotWriter, file: SnapshotFileName) {
    this.ended = this.#write(writer, file);
    this.ended.catch(() => {});
  }

  async #write(writer: SnapshotWriter, file: SnapshotFileName): Promise<void> {
    try {
      await writer.file(file, this.#pipe.read());
    } catch (error) {
      this.#pipe.fail(error);
      throw error;
    }
  }

  /** Resolves when it is taken. */
  push(piece: Buffer | null): Promise<void> {
    return this.#pipe.push(piece);
  }

  /** Nothing more comes: the file fails there as soon as it asks for it. */
  giveUp(error: unknown): void {
    this.#pipe.break(error);
    this.#pipe.fail(error);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
