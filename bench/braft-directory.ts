/**
 * Writes a whole braft instance (log, raft_meta, snapshot) straight to disk, by seed: the input of
 * benchmarks and of tests with a log larger than the fixtures. Not durable: nothing is synced.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { EntryType, entryHeaderBytes, writeEntryHeader } from '../storage/entry-batch.ts';
import {
  encodeLogMeta,
  encodeSnapshotTable,
  encodeStableMeta,
} from '../storage/families/local/messages.ts';
import { frameMessage } from '../storage/families/local/protobuf-file.ts';
import { textField } from '../storage/braft-payloads/protobuf.ts';
import { writeRecordHeader } from '../storage/families/local/record.ts';
import {
  closedSegmentName,
  logMetaName,
  openSegmentName,
} from '../storage/families/local/segment-name.ts';
import { PayloadSource, type PayloadKind } from './payload-source.ts';

export interface BraftDirectoryOptions {
  /** Made if absent; gets `log`, `raft_meta` and `snapshot`, as the short form of a URI expects. */
  readonly directory: string;
  /** Bytes of all payloads of the log together, rounded up to whole entries. */
  readonly bytes: number;
  readonly entryBytes: number;
  readonly kind: PayloadKind;
  readonly seed: number;
  /** Files of the snapshot, 1 MiB each; absent: no snapshot. */
  readonly snapshotFiles?: number;
}

/** What was written. Indexes are inclusive. */
export interface BraftDirectory {
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly term: number;
}

/** braft's `raft_max_segment_size`: a segment that has reached it is closed. */
const segmentBytes = 8 * 1024 * 1024;

/** Entries of one term; elections are rare. */
const entriesPerTerm = 100_000;

const snapshotFileBytes = 1024 * 1024;

const peers = ['10.0.0.1:8100:0:0', '10.0.0.2:8100:0:0', '10.0.0.3:8100:0:0'];

export function writeBraftDirectory(options: BraftDirectoryOptions): BraftDirectory {
  const { directory, bytes, entryBytes } = options;
  const payloads = new PayloadSource(options.kind, options.seed);
  // With a snapshot the log continues after it, as after a compaction.
  const firstIndex = options.snapshotFiles === undefined ? 1 : 1001;
  const lastIndex = firstIndex + Math.ceil(bytes / entryBytes);
  writeLog({ directory: join(directory, 'log'), firstIndex, lastIndex, entryBytes, payloads });
  const term = termOf(lastIndex);
  const votedFor = Buffer.from(peers[0] ?? '');
  const stable = encodeStableMeta({ term: BigInt(term), votedFor });
  writeFile(join(directory, 'raft_meta', 'raft_meta'), frameMessage(stable));
  mkdirSync(join(directory, 'snapshot'), { recursive: true });
  if (options.snapshotFiles !== undefined) {
    const lastIncludedIndex = firstIndex - 1;
    writeSnapshot({ directory, lastIncludedIndex, count: options.snapshotFiles, payloads });
  }
  return { firstIndex, lastIndex, term };
}

function termOf(index: number): number {
  return 1 + Math.floor(index / entriesPerTerm);
}

/** A configuration entry first, as a new leader writes it, then data. */
function writeLog(options: {
  readonly directory: string;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly entryBytes: number;
  readonly payloads: PayloadSource;
}): void {
  const { directory, firstIndex, lastIndex, entryBytes, payloads } = options;
  writeFile(join(directory, logMetaName), frameMessage(encodeLogMeta(BigInt(firstIndex))));
  const configuration = Buffer.concat(peers.map((peer) => textField(1, peer)));
  const segment = Buffer.alloc(segmentBytes + entryHeaderBytes + entryBytes);
  let end = 0;
  let segmentFirst = firstIndex;
  for (let index = firstIndex; index <= lastIndex; index++) {
    const isConfiguration = index === firstIndex;
    const payloadBytes = isConfiguration ? configuration.length : entryBytes;
    const type = isConfiguration ? EntryType.CONFIGURATION : EntryType.DATA;
    const term = BigInt(termOf(index));
    writeEntryHeader(segment, end, { term, type, payloadBytes, index: BigInt(index) });
    if (isConfiguration) configuration.copy(segment, end + entryHeaderBytes);
    else payloads.fill(segment, end + entryHeaderBytes, payloadBytes);
    writeRecordHeader(segment, end);
    end += entryHeaderBytes + payloadBytes;
    if (end < segmentBytes && index < lastIndex) continue;
    const name =
      index < lastIndex
        ? closedSegmentName(BigInt(segmentFirst), BigInt(index))
        : openSegmentName(BigInt(segmentFirst));
    writeFile(join(directory, name), segment.subarray(0, end));
    end = 0;
    segmentFirst = index + 1;
  }
}

function writeSnapshot(options: {
  readonly directory: string;
  readonly lastIncludedIndex: number;
  readonly count: number;
  readonly payloads: PayloadSource;
}): void {
  const { lastIncludedIndex, count, payloads } = options;
  const name = `snapshot_${lastIncludedIndex.toString().padStart(20, '0')}`;
  const place = join(options.directory, 'snapshot', name);
  const bytes = Buffer.alloc(snapshotFileBytes);
  const names = Array.from({ length: count }, (_, i) => `data/part-${`${i}`.padStart(5, '0')}`);
  for (const path of names) {
    payloads.fill(bytes, 0, bytes.length);
    writeFile(join(place, path), bytes);
  }
  const table = encodeSnapshotTable({
    meta: {
      lastIncludedIndex: BigInt(lastIncludedIndex),
      lastIncludedTerm: BigInt(termOf(lastIncludedIndex)),
      peers,
      oldPeers: [],
    },
    files: names.map((path) => ({ name: Buffer.from(path), fileMeta: Buffer.alloc(0) })),
  });
  writeFile(join(place, '__raft_snapshot_meta'), frameMessage(table));
}

function writeFile(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
}
