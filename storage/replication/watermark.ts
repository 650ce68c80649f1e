/**
 * The watermark of a replica (DUAL-5): up to which index and term everything was acknowledged, and
 * the name of the change under way that takes something away. Recovery of a pair refuses a side
 * that lies below it, and completes on both sides the change that it names.
 *
 * It advances lazily: it may lie behind what was acknowledged, never before. Before a truncation,
 * a reset or a snapshot's publication it is lowered and names it, durably; the name is cleared,
 * durably, before that is acknowledged. One file, replaced by rename.
 */
import { z } from 'zod';

import { assert, fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { readWhole, writeDurably } from '../files.ts';
import { dirname } from 'node:path';

/** A change of the log under way. `replace` cuts to `index - 1` and names the first new entry. */
export type NamedLogChange =
  | { readonly kind: 'truncate'; readonly lastKept: bigint }
  | { readonly kind: 'replace'; readonly index: bigint; readonly term: bigint }
  | { readonly kind: 'reset'; readonly to: bigint };

/** A snapshot that is being published. */
export interface NamedSnapshot {
  /** Its last included index. */
  readonly index: bigint;
  /** Under which both sides have prepared it; null without a mirror. */
  readonly tag: string | null;
}

export interface NamedChange {
  readonly log: NamedLogChange | null;
  readonly snapshot: NamedSnapshot | null;
}

/** Everything up to `index`, whose entry has this term, was acknowledged; 0 claims nothing. */
export interface LogPosition {
  readonly index: bigint;
  readonly term: bigint;
}

export interface WatermarkState extends LogPosition {
  readonly named: NamedChange | null;
}

const i64 = z
  .string()
  .regex(/^-?\d{1,19}$/)
  .transform((text) => BigInt(text));

const watermarkSchema = z.strictObject({
  format: z.literal('quorumshift-watermark/1'),
  index: i64,
  term: i64,
  named: z
    .strictObject({
      log: z
        .discriminatedUnion('kind', [
          z.strictObject({ kind: z.literal('truncate'), lastKept: i64 }),
          z.strictObject({ kind: z.literal('replace'), index: i64, term: i64 }),
          z.strictObject({ kind: z.literal('reset'), to: i64 }),
        ])
        .nullable(),
      snapshot: z.strictObject({ index: i64, tag: z.string().nullable() }).nullable(),
    })
    .nullable(),
});

/** Some hundred bytes. */
const maxBytes = 4096;

export class Watermark {
  readonly #files: FileLayer;
  readonly #path: string;
  #state: WatermarkState;
  #acknowledged: LogPosition | null = null;
  #writing: Promise<void> = Promise.resolve();

  private constructor(files: FileLayer, path: string, state: WatermarkState) {
    this.#files = files;
    this.#path = path;
    this.#state = state;
  }

  /**
   * The watermark at `path`; one that claims nothing where there is no file. What was read is
   * durable when it resolves.
   * @throws `data.corrupt`
   */
  static async open(files: FileLayer, path: string): Promise<Watermark> {
    const bytes = await readWhole(files, path, maxBytes);
    // Whoever wrote it may have been killed between the rename and this sync.
    await files.syncDirectory(dirname(path));
    const nothing = { index: 0n, term: 0n, named: null };
    return new Watermark(files, path, bytes === null ? nothing : decode(path, bytes));
  }

  get state(): WatermarkState {
    return this.#state;
  }

  /**
   * Names a change before its first effect, lowered to `position` where that is below. Durable when
   * resolved.
   */
  name(named: NamedChange, position: LogPosition): Promise<void> {
    return this.#change(() => {
      assert(this.#state.named === null, 'one change at a time has a name');
      this.#acknowledged = null;
      const lower = position.index < this.#state.index ? position : this.#state;
      return { index: lower.index, term: lower.term, named };
    });
  }

  /** The named change is on every side. Durable when resolved. */
  clearName(): Promise<void> {
    return this.#change((state) => (state.named === null ? state : { ...state, named: null }));
  }

  /** What the last acknowledgement reached; {@link advance} makes it durable some time. */
  acknowledged(position: LogPosition): void {
    this.#acknowledged = position;
  }

  /** Raises the watermark to what was acknowledged; not while a change is named. */
  advance(): Promise<void> {
    return this.#change((state) => {
      const reached = this.#acknowledged;
      return reached === null || state.named !== null ? state : { ...reached, named: null };
    });
  }

  /** Resolves when nothing is being written: whoever opens it next is the only writer. */
  settled(): Promise<void> {
    return this.#writing;
  }

  #change(change: (state: WatermarkState) => WatermarkState): Promise<void> {
    const written = this.#writing.then(async () => {
      const state = change(this.#state);
      if (isSame(state, this.#state)) return;
      await writeDurably(this.#files, this.#path, encode(state));
      this.#state = state;
    });
    this.#writing = written.catch(() => {});
    return written;
  }
}

function isSame(a: WatermarkState, b: WatermarkState): boolean {
  return a.index === b.index && a.term === b.term && a.named === b.named;
}

function encode(state: WatermarkState): Buffer {
  const text = (_: string, value: unknown) => (typeof value === 'bigint' ? `${value}` : value);
  const json = { format: 'quorumshift-watermark/1', ...state };
  return Buffer.from(`${JSON.stringify(json, text)}\n`);
}

function decode(file: string, bytes: Buffer): WatermarkState {
  try {
    const { format: _, ...state } = watermarkSchema.parse(JSON.parse(bytes.toString('utf8')));
    return state;
  } catch (cause) {
    throw fail('data.corrupt', { file, offset: 0, reason: 'it is no watermark' }, { cause });
  }
}
