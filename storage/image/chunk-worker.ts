/** The thread's own side of chunk-thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';

import { crc32c } from '@node-rs/crc32';

import { assert } from '../../core/errors.ts';
import { unpack } from '../lz4.ts';
import { runChecksums } from '../run-checksums.ts';
import { ChunkMemory, type ChunkReply, type ChunkRequest } from './chunk-thread.ts';

assert(workerData instanceof SharedArrayBuffer, 'the thread is given the memory of the chunks');
const memory = new ChunkMemory(workerData);

function checkChunk(request: ChunkRequest): ChunkReply {
  const { turn, storedBytes, storedCrc, contentBytes } = request;
  const stored = memory.stored(turn, storedBytes);
  if (contentBytes === null) {
    const run = runChecksums(stored);
    const payloads = keepChecksums(turn, run?.payloads);
    return { crc: run?.whole ?? crc32c(stored), unpacked: false, payloads };
  }
  const crc = crc32c(stored);
  const content = crc === storedCrc ? contentOf(stored, contentBytes) : null;
  if (content === null) return { crc, unpacked: false, payloads: null };
  memory.content(turn, contentBytes).set(content);
  const payloads = keepChecksums(turn, runChecksums(content)?.payloads);
  return { crc, unpacked: true, payloads };
}

/** Null where it is not what was stated: the reader finds out what is wrong, and says it. */
function contentOf(stored: Buffer, contentBytes: number): Buffer | null {
  try {
    const content = unpack(stored, contentBytes);
    return content.length === contentBytes ? content : null;
  } catch {
    return null;
  }
}

function keepChecksums(turn: number, payloads: Uint32Array | undefined): number | null {
  if (payloads === undefined) return null;
  memory.payloadCrc32c(turn, payloads.length).set(payloads);
  return payloads.length;
}

parentPort?.on('message', (request: ChunkRequest) => {
  parentPort?.postMessage(checkChunk(request), []);
});
