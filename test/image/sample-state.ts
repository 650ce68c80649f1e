/** States for the tests of image and digest, in the memory family. */
import { randomUUID } from 'node:crypto';

import type { Instance, StagingInstance } from '../../storage/contracts.ts';
import { batchOf, EntryType, type LogEntry } from '../../storage/entry-batch.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import type { ImageSink } from '../../storage/image/image-sink.ts';
import { streamBytes, type ImageBytes } from '../../storage/image/image-source.ts';
import { exportImage } from '../../storage/image/transfer-image.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';

export const context = { files: nodeFileLayer };

export interface SampleOptions {
  readonly firstIndex?: bigint;
  readonly entries?: number;
  /** Largest payload; a payload's size is drawn below it. */
  readonly maxPayloadBytes?: number;
  readonly seed?: number;
  /** Path and size of the snapshot's files; null for no snapshot. */
  readonly files?: Readonly<Record<string, number>> | null;
}

/** Compressible bytes that depend on `seed` alone. */
export function sampleBytes(bytes: number, seed: number): Buffer {
  const random = seededRandom(seed);
  const content = Buffer.alloc(bytes);
  for (let at = 0; at < bytes; at += 16) {
    content.write(`key${random.below(1000)}=value;`.slice(0, 16), at, 'latin1');
  }
  return content;
}

export function sampleEntries(options: SampleOptions = {}): LogEntry[] {
  const { firstIndex = 1n, entries = 100, maxPayloadBytes = 200, seed = 1 } = options;
  const random = seededRandom(seed);
  return Array.from({ length: entries }, (_, i) => ({
    index: firstIndex + BigInt(i),
    term: 3n + BigInt(Math.floor(i / 10)),
    type: i % 10 === 0 ? EntryType.NO_OP : EntryType.DATA,
    payload: sampleBytes(i % 10 === 0 ? 0 : random.below(maxPayloadBytes), seed + i),
  }));
}

/** A new memory instance that holds the sample; read-write. */
export async function sampleInstance(options: SampleOptions = {}): Promise<Instance> {
  const { files = { 'data/a.sst': 3000, empty: 0, 'z.bin': 70_000 }, seed = 1 } = options;
  const instance = await createInstance();
  const list = sampleEntries(options);
  const first = options.firstIndex ?? 1n;
  await instance.apply({
    reset: first,
    ...(list.length > 0 && { entries: { after: first - 1n, batches: [batchOf(list)] } }),
    meta: {
      term: 1000n,
      votedFor: Buffer.from('10.0.0.1:8000:0'),
      auxiliary: new Map([
        ['commit', Buffer.from([0, 0, 0, 9])],
        ['ä', Buffer.alloc(0)],
      ]),
    },
  });
  if (files !== null) await publishSnapshot(instance, { files, seed });
  return instance;
}

export async function createInstance(): Promise<Instance> {
  return memoryFamily.open(memoryFamily.expand(`memory://${randomUUID()}`), 'create', context);
}

export async function publishSnapshot(
  instance: Instance,
  options: { files: Readonly<Record<string, number>>; seed?: number; peers?: string[] },
): Promise<void> {
  const writer = await instance.snapshots.begin({
    lastIncludedIndex: 7n,
    lastIncludedTerm: 3n,
    peers: options.peers ?? ['10.0.0.1:8000:0', '10.0.0.2:8000:0'],
    oldPeers: [],
    auxiliary: new Map([['id', Buffer.from('snap-7')]]),
  });
  for (const [path, bytes] of Object.entries(options.files)) {
    const userMeta = bytes % 2 === 0 ? Buffer.from(`meta of ${path}`) : null;
    await writer.file({ path, userMeta }, [sampleBytes(bytes, (options.seed ?? 1) + bytes)]);
  }
  await instance.apply({ snapshot: await writer.prepare() });
}

export async function stageMemory(name: string = randomUUID()): Promise<StagingInstance> {
  return memoryFamily.stage(memoryFamily.expand(`memory://${name}`), context);
}

/** Publishes the staging place and opens what it became. */
export async function publishAndOpen(staging: StagingInstance): Promise<Instance> {
  await staging.publish();
  return memoryFamily.open(staging.uris, 'read-write', context);
}

/** Collects an image in memory. */
export function bufferSink(): ImageSink & { bytes(): Buffer } {
  const pieces: Buffer[] = [];
  return {
    write: async (bytes) => void pieces.push(Buffer.from(bytes)),
    finish: async () => {},
    abort: async () => {},
    bytes: () => Buffer.concat(pieces),
  };
}

export async function imageOf(instance: Instance): Promise<Buffer> {
  const sink = bufferSink();
  await exportImage(instance, sink, { sourceFormatVersion: memoryFamily.formatVersion });
  return sink.bytes();
}

/** The bytes in pieces of `pieceBytes`, as a file or a pipe would give them. */
export function piecesOf(bytes: Buffer, pieceBytes = 64 * 1024): ImageBytes {
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      yield bytes.subarray(at, at + pieceBytes);
    }
  }
  return streamBytes(pieces());
}
