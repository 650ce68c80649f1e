/**
 * What braft would find when it opens a log directory, without its side effects. Where braft
 * deletes or cuts, the result says so in `repairs`, for a writer to do durably; a reader leaves it.
 */
import { join } from 'node:path';

import { fail } from '../../../core/errors.ts';
import type { FileHandle, FileLayer } from '../../file-layer.ts';
import { isErrno } from '../../files.ts';
import { decodeLogMeta } from './messages.ts';
import { maxSmallFileBytes, readProtobufFile } from './protobuf-file.ts';
import { logMetaName, parseLogName } from './segment-name.ts';
import { isZeroTail, refuseSegment, scanSegment, type SegmentEnd } from './segment-scan.ts';
import { RecordOffsets, Segment } from './segment.ts';

/** Segments that are scanned at once: hides the reads behind the checks. */
const scansAtOnce = 2;

export interface LoadedLog {
  readonly firstIndex: bigint;
  readonly lastIndex: bigint;
  /** Closed ones in order, then the open one. */
  readonly segments: readonly Segment[];
  /** False: there is no `log_meta`, and braft would delete every segment. */
  readonly hasLogMeta: boolean;
  /** Indexes that braft would offer and not find; null when there are none. */
  readonly hole: string | null;
  readonly repairs: {
    /** Files below the first index, or doomed by their name. */
    readonly remove: readonly string[];
    /** Files with bytes after their last good record. */
    readonly cut: readonly { readonly path: string; readonly bytes: number }[];
  };
  readonly warnings: readonly string[];
  /** Those of the warnings behind which braft would lose or misread entries. */
  readonly hazards: readonly string[];
}

export interface LoadOptions {
  /**
   * Makes what is read durable, and takes zeros up to the end of the open segment for a torn write
   * (an extension that was never synced), where braft refuses to start.
   */
  readonly forWriting: boolean;
  /** Closed segments are taken by their names; reading one checks it. */
  readonly defersClosed?: boolean;
}

/** @throws `data.corrupt` for what braft refuses */
export async function loadLog(
  files: FileLayer,
  directory: string,
  options: LoadOptions,
): Promise<LoadedLog> {
  const names = await files.list(directory);
  const meta = await readProtobufFile(files, join(directory, logMetaName), maxSmallFileBytes);
  const doomed = names.filter((name) => parseLogName(name).kind === 'doomed');
  if (meta === null) return withoutLogMeta(names);
  const { firstLogIndex } = decodeLogMeta(meta);
  const loading = new Loading(files, options);
  const closed = loading.keepClosed(closedSegments(directory, names), firstLogIndex);
  const open = findOpen(directory, names);
  // Under an open segment that overlaps them some are never read, and so never checked.
  const defers = options.defersClosed === true && !overlaps(open, closed);
  for (const segment of closed) segment.deferred = defers;
  await loading.scanAll([...(defers ? [] : closed), ...(open === null ? [] : [open])]);
  return loading.result({
    firstIndex: firstLogIndex,
    closed,
    open,
    doomed: doomed.map((name) => join(directory, name)),
  });
}

function withoutLogMeta(names: readonly string[]): LoadedLog {
  const segments = names.filter((name) => ['closed', 'open'].includes(parseLogName(name).kind));
  const warning = `log_meta is absent: braft takes the log for empty and deletes ${segments.length} segment file(s)`;
  const warnings = segments.length > 0 ? [warning] : [];
  return {
    firstIndex: 1n,
    lastIndex: 0n,
    segments: [],
    hasLogMeta: false,
    hole: null,
    repairs: { remove: [], cut: [] },
    warnings,
    hazards: warnings,
  };
}

/** By first index; several names for one segment (unpadded, or with a suffix) are one. */
function closedSegments(directory: string, names: readonly string[]): Segment[] {
  const found = new Map<bigint, bigint>();
  for (const name of names) {
    const parsed = parseLogName(name);
    if (parsed.kind !== 'closed') continue;
    const other = found.get(parsed.first);
    if (other !== undefined && other !== parsed.last) {
      refuseSegment(join(directory, name), 0, `another segment begins at ${parsed.first} too`);
    }
    found.set(parsed.first, parsed.last);
  }
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([first, last]) => new Segment({ directory, first, namedLast: last }));
}

function findOpen(directory: string, names: readonly string[]): Segment | null {
  let first: bigint | undefined;
  for (const name of names) {
    const parsed = parseLogName(name);
    if (parsed.kind !== 'open') continue;
    // A copy beside it, with a suffix, is a second one to braft too.
    if (first !== undefined) {
      refuseSegment(join(directory, name), 0, 'there are two names of open segments');
    }
    ({ first } = parsed);
  }
  return first === undefined ? null : new Segment({ directory, first, namedLast: null });
}

class Loading {
  readonly #files: FileLayer;
  readonly #forWriting: boolean;
  readonly #remove: string[] = [];
  readonly #cut: { path: string; bytes: number }[] = [];
  readonly #warnings: string[] = [];
  readonly #hazards: string[] = [];

  constructor(files: FileLayer, options: LoadOptions) {
    this.#files = files;
    this.#forWriting = options.forWriting;
  }

  /** braft's checks of the closed segments' names; those wholly below the first index go. */
  keepClosed(segments: readonly Segment[], firstIndex: bigint): Segment[] {
    const kept: Segment[] = [];
    for (const segment of segments) {
      const last = segment.namedLast ?? segment.last;
      const before = kept.at(-1);
      const expected = before && (before.namedLast ?? before.last) + 1n;
      if (segment.first > last) refuseSegment(segment.path, 0, 'its name ends before it begins');
      if (expected !== undefined && segment.first !== expected) {
        refuseSegment(segment.path, 0, `index ${expected} should follow the segment before`);
      }
      if (expected === undefined && segment.first > firstIndex) {
        refuseSegment(segment.path, 0, `the log begins at ${firstIndex}, its segments later`);
      }
      if (expected === undefined && last < firstIndex) this.#remove.push(segment.path);
      else kept.push(segment);
    }
    return kept;
  }

  async scanAll(segments: readonly Segment[]): Promise<void> {
    const queue = [...segments];
    const scanner = async () => {
      for (let segment = queue.shift(); segment !== undefined; segment = queue.shift()) {
        await this.#scan(segment);
      }
    };
    await Promise.all(Array.from({ length: scansAtOnce }, scanner));
  }

  async #scan(segment: Segment): Promise<void> {
    const { path } = segment;
    const file = await openSegment(this.#files, path);
    try {
      const fileBytes = await file.size();
      const offsets = new RecordOffsets();
      const end = await scanSegment({ file, fileBytes, offsets });
      segment.walked(offsets);
      if (segment.open) {
        const zeros = this.#forWriting && (await this.#isUnwritten(file, offsets.end, fileBytes));
        this.#judgeOpen(path, { end, at: offsets.end, zeros });
      } else {
        judgeClosed(segment, { path, end });
      }
      if (offsets.end < fileBytes) this.#cut.push({ path, bytes: offsets.end });
      if (this.#forWriting) await file.sync();
    } finally {
      await file.close();
    }
  }

  async #isUnwritten(
    file: Parameters<typeof isZeroTail>[0],
    from: number,
    fileBytes: number,
  ): Promise<boolean> {
    return from < fileBytes && (await isZeroTail(file, from, fileBytes));
  }

  #judgeOpen(path: string, found: { end: SegmentEnd; at: number; zeros: boolean }): void {
    const { end, at, zeros } = found;
    if (end.kind === 'whole') return;
    if (end.kind === 'corrupt' && zeros) {
      this.#warnings.push(`${path}: zeros from byte ${at} on, never synced, were cut off`);
    } else if (end.kind === 'torn') {
      const warning = `${path}: the log ends at byte ${at}: ${end.reason}`;
      this.#warnings.push(warning);
      if (end.damaged) this.#hazards.push(warning);
    } else {
      refuseSegment(path, at, end.reason);
    }
  }

  result(found: {
    firstIndex: bigint;
    closed: readonly Segment[];
    open: Segment | null;
    doomed: readonly string[];
  }): LoadedLog {
    const { firstIndex, closed } = found;
    let { open } = found;
    const hole = open && holeBefore(open, { closed, firstIndex });
    if (open !== null && open.last < firstIndex) {
      const { path } = open;
      this.#remove.push(path);
      this.#cut.splice(0, this.#cut.length, ...this.#cut.filter((cut) => cut.path !== path));
      open = null;
    }
    const segments = open === null ? closed : [...closed, open];
    const lastIndex = segments.at(-1)?.last ?? firstIndex - 1n;
    if (hole !== null && open !== null) {
      this.#warnings.push(hole);
      this.#hazards.push(hole);
    }
    return {
      firstIndex,
      lastIndex,
      segments,
      hasLogMeta: true,
      hole: open === null ? null : hole,
      repairs: { remove: [...found.doomed, ...this.#remove], cut: this.#cut },
      warnings: this.#warnings,
      hazards: this.#hazards,
    };
  }
}

/** @throws `data.corrupt` when its name is there, and no file */
export async function openSegment(files: FileLayer, path: string): Promise<FileHandle> {
  try {
    return await files.open(path, 'read');
  } catch (error) {
    if (isErrno(error, 'ENOENT') || isErrno(error, 'EISDIR')) {
      return refuseSegment(path, 0, 'a name in the directory stands for it, but it is no file');
    }
    throw error;
  }
}

/**
 * Walks a closed segment that was deferred, as opening its log would have.
 * @throws `data.corrupt`
 */
export async function walkDeferred(files: FileLayer, segment: Segment): Promise<void> {
  await new Loading(files, { forWriting: false }).scanAll([segment]);
}

/** A closed segment has exactly the records that its name states; a few stray bytes may follow. */
function judgeClosed(segment: Segment, found: { path: string; end: SegmentEnd }): void {
  const { path, end } = found;
  const { offsets, namedLast } = segment;
  const damaged = end.kind === 'corrupt' || end.kind === 'unparsable';
  if (damaged) refuseSegment(path, offsets.end, end.reason);
  if (segment.last === namedLast) return;
  const reason = end.kind === 'torn' ? `, where ${end.reason}` : '';
  refuseSegment(
    path,
    offsets.end,
    `its name ends at ${namedLast}, its records at ${segment.last}${reason}`,
  );
}

function overlaps(open: Segment | null, closed: readonly Segment[]): boolean {
  const last = closed.at(-1)?.namedLast;
  return open !== null && last !== undefined && last !== null && open.first <= last;
}

/** braft only warns of it: indexes of the hole are then offered and cannot be read. */
function holeBefore(
  open: Segment,
  log: { closed: readonly Segment[]; firstIndex: bigint },
): string | null {
  const before = log.closed.at(-1);
  if (before !== undefined && open.first !== before.last + 1n) {
    return `${open.path} begins at ${open.first}, but the segment before it ends at ${before.last}`;
  }
  if (before !== undefined || open.first <= log.firstIndex) return null;
  return `${open.path} begins at ${open.first}, but the log at ${log.firstIndex}`;
}

/** Refuses what braft accepts with unreadable entries, where we are to write after them. */
export function requireWritable(log: LoadedLog, directory: string): void {
  if (log.hole !== null)
    throw fail('data.corrupt', { file: directory, offset: 0, reason: log.hole });
  if (log.firstIndex < 1n) {
    const reason = `its first index is ${log.firstIndex}`;
    throw fail('data.corrupt', { file: join(directory, logMetaName), offset: 0, reason });
  }
  if (!log.hasLogMeta) {
    const reason = 'log_meta is absent: the log is lost, or was never complete';
    throw fail('data.corrupt', { file: join(directory, logMetaName), offset: 0, reason });
  }
}
