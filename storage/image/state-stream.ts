/**
 * The canonical state as a stream of sections, the same from every family: what an image stores,
 * what a digest hashes and what an import consumes.
 *
 * Order: range, meta, entries*, snapshot, (file, fileBytes*)*, end. Files come in the order of
 * their paths' bytes. A stream ends with `end` or it is not whole.
 */
import { fail } from '../../core/errors.ts';
import type {
  DurableState,
  Instance,
  RaftMeta,
  SnapshotFile,
  SnapshotMeta,
  SnapshotReader,
} from '../contracts.ts';
import { batchBytes, type EntryBatch } from '../entry-batch.ts';
import { prefetch } from './prefetch.ts';
import { Pacer, type GiveWay, type RateLimit } from './rate-limit.ts';
import { StateDigester, type StateDigest } from './state-digester.ts';
import { stateOutline, type KnownFile } from './digest-tree.ts';
import type { LeafRun } from './leaf-run.ts';

/** What a whole stream held; compared with what was received. */
export interface StateCounts {
  readonly entries: number;
  /** Canonical bytes, headers included. */
  readonly entryBytes: number;
  readonly files: number;
  readonly fileBytes: number;
}

export type StateSection =
  | { readonly kind: 'range'; readonly firstIndex: bigint; readonly lastIndex: bigint }
  | { readonly kind: 'meta'; readonly meta: RaftMeta }
  | { readonly kind: 'entries'; readonly batch: EntryBatch }
  | { readonly kind: 'snapshot'; readonly meta: SnapshotMeta | null }
  | { readonly kind: 'file'; readonly file: SnapshotFile }
  | { readonly kind: 'fileBytes'; readonly bytes: Buffer }
  | { readonly kind: 'end'; readonly counts: StateCounts; readonly digest: StateDigest };

export type StateStream = AsyncIterable<StateSection>;

/** How far a pass over a state has come. */
export interface TransferProgress {
  readonly phase: 'log' | 'snapshot' | 'done';
  readonly entriesDone: number;
  readonly entriesTotal: number;
  /** Canonical bytes of entries and bytes of files, moved by this attempt. */
  readonly bytesDone: number;
}

export interface TransferOptions {
  /** Called after each batch; cheap work only. */
  readonly onProgress?: (progress: TransferProgress) => void;
  readonly signal?: AbortSignal;
  /** May be changed by its owner meanwhile. */
  readonly rateLimit?: RateLimit;
  /** Asked again and again: bulk work in a process that others wait for. */
  readonly giveWay?: GiveWay;
}

export interface ExportOptions extends TransferOptions {
  /** `passing` of ReadOptions: sections of entries are done with when the next is asked for. */
  readonly passing?: boolean;
  /** Continues a digest from a checkpoint: entries before it are not read again. */
  readonly digester?: StateDigester;
}

/** Read size: large enough for the engines, small beside the memory bound. */
const readBytes = 1024 * 1024;

/**
 * The whole state of `instance` at one cut (IMG-1).
 * @throws `image.source-changed` when it was mutated meanwhile; `data.corrupt`,
 *   `snapshot.file-missing`; the signal's reason
 */
export async function* exportState(
  instance: Instance,
  options: ExportOptions = {},
): AsyncGenerator<StateSection> {
  const state = instance.state();
  const digester = options.digester ?? new StateDigester();
  for await (const section of readState(instance, { ...options, from: digester.resumesAt })) {
    digester.add(section);
    yield section;
  }
  requireUnchanged(instance, state);
  const { digest, counts } = digester.finish();
  yield { kind: 'end', counts, digest };
}

export interface ReadStateOptions extends TransferOptions {
  /** First index to read; null for the whole log. */
  readonly from?: bigint | null;
  /** `passing` of ReadOptions: sections of entries are done with when the next is asked for. */
  readonly passing?: boolean;
  readonly skipSnapshotFiles?: boolean;
  /** Leaves whose entries are not read. */
  readonly known?: LeafRun;
  /** Of which files the bytes are not read. */
  readonly knownFile?: KnownFile;
  /** `statesPayloads` of ReadOptions. */
  readonly statesPayloads?: boolean;
}

/** {@link exportState} without digest and end, from any index on. */
export async function* readState(
  instance: Instance,
  options: ReadStateOptions = {},
): AsyncGenerator<StateSection> {
  const { firstIndex, lastIndex, meta } = instance.state();
  const meter = new TransferMeter({ firstIndex, lastIndex, options });
  yield { kind: 'range', firstIndex, lastIndex };
  yield { kind: 'meta', meta };
  const { passing = false, statesPayloads = false } = options;
  const how = { maxBytes: readBytes, passing, statesPayloads };
  for (const [from, to] of unknownRanges(options, { firstIndex, lastIndex })) {
    const batches = instance.read(from, to, how);
    for await (const batch of prefetch(batches)) {
      yield { kind: 'entries', batch };
      await meter.entries(batch);
    }
  }
  yield* readSnapshot(instance, meter, options);
}

/** What must be read of a log: `from..to` inclusive, below and above the leaves that are known. */
function unknownRanges(
  { from, known }: Pick<ReadStateOptions, 'from' | 'known'>,
  { firstIndex, lastIndex }: { readonly firstIndex: bigint; readonly lastIndex: bigint },
): [bigint, bigint][] {
  const first = from ?? firstIndex;
  const isKnown = known !== undefined && known.firstIndex < known.nextIndex;
  const ranges: [bigint, bigint][] = isKnown
    ? [
        [first, known.firstIndex - 1n],
        [known.nextIndex, lastIndex],
      ]
    : [[first, lastIndex]];
  return ranges.filter(([start, end]) => start <= end);
}

/**
 * Refuses a source that was mutated while it was read (IMG-1).
 * @throws `image.source-changed`
 */
export function requireUnchanged(instance: Instance, before: DurableState): void {
  const after = instance.state();
  if (after === before || stateOutline(after) === stateOutline(before)) return;
  throw fail('image.source-changed', {
    instance: instance.uris.log,
    actual: `from ${describe(before)} to ${describe(after)}`,
  });
}

function describe(state: DurableState): string {
  return `${state.firstIndex}..${state.lastIndex} in term ${state.meta.term}`;
}

async function* readSnapshot(
  instance: Instance,
  meter: TransferMeter,
  options: ReadStateOptions,
): AsyncGenerator<StateSection> {
  const reader = await instance.snapshots.latest();
  try {
    yield { kind: 'snapshot', meta: reader?.meta ?? null };
    if (reader === null || options.skipSnapshotFiles === true) return;
    for (const file of reader.files) {
      yield { kind: 'file', file };
      if (options.knownFile?.(file)) continue;
      yield* readFile(instance, { reader, file, meter });
    }
  } finally {
    await reader?.close();
  }
}

async function* readFile(
  instance: Instance,
  options: { reader: SnapshotReader; file: SnapshotFile; meter: TransferMeter },
): AsyncGenerator<StateSection> {
  const { reader, file, meter } = options;
  let total = 0;
  for await (const bytes of reader.read(file.path)) {
    total += bytes.length;
    yield { kind: 'fileBytes', bytes };
    await meter.fileBytes(bytes.length);
  }
  if (total !== file.bytes) {
    throw fail('data.corrupt', {
      file: `${instance.uris.snapshot} (${file.path})`,
      offset: Math.min(total, file.bytes),
      reason: `it has ${total} bytes where its snapshot lists ${file.bytes}`,
    });
  }
}

/** Progress and pace of one pass. */
export class TransferMeter {
  readonly #pacer: Pacer;
  readonly #options: TransferOptions;
  readonly #firstIndex: bigint;
  readonly #entriesTotal: number;
  #entriesDone = 0;
  #bytesDone = 0;

  constructor(pass: { firstIndex: bigint; lastIndex: bigint; options: TransferOptions }) {
    this.#options = pass.options;
    const { rateLimit: limit, signal, giveWay } = pass.options;
    this.#pacer = new Pacer({ limit, signal, giveWay });
    this.#firstIndex = pass.firstIndex;
    this.#entriesTotal = Number(pass.lastIndex - pass.firstIndex + 1n);
  }

  async entries(batch: EntryBatch): Promise<void> {
    this.#entriesDone = Number(batch.firstIndex - this.#firstIndex) + batch.count;
    await this.#moved('log', batchBytes(batch));
  }

  async fileBytes(bytes: number): Promise<void> {
    this.#entriesDone = this.#entriesTotal;
    await this.#moved('snapshot', bytes);
  }

  async #moved(phase: TransferProgress['phase'], bytes: number): Promise<void> {
    this.#bytesDone += bytes;
    this.#options.onProgress?.({
      phase,
      entriesDone: this.#entriesDone,
      entriesTotal: this.#entriesTotal,
      bytesDone: this.#bytesDone,
    });
    await this.#pacer.moved(bytes);
  }
}
