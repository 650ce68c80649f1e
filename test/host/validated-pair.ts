/**
 * A pair of memory instances that is written, cut over, given a new mirror, and altered behind its
 * back; with a model of what a validation must read again, and of what it may leave unread.
 */
import { expect } from 'vitest';

import { hasCode } from '../../core/errors.ts';
import { PairValidation } from '../../host/pair-validation.ts';
import type { Instance, Mutation } from '../../storage/contracts.ts';
import { batchOf, entryAt, entryHeaderBytes, type LogEntry } from '../../storage/entry-batch.ts';
import { compareInstances } from '../../storage/equivalence/compare.ts';
import { memoryFamily } from '../../storage/families/memory/family.ts';
import { copyState } from '../../storage/image/copy-state.ts';
import type { Pair } from '../../storage/replication/open-pair.ts';
import { withPinned, type PinnedPair } from '../../storage/replication/pinned-pair.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { openPairAt } from '../replication/pair-family.ts';

/** So large that a read of the comparison holds one leaf: it can be cut off at each. */
const entryBytes = 16 * 1024;
const leaf = 64n;
const fullEverySeconds = 10;

/** A mutation through the pair. */
export type Change =
  | { readonly kind: 'append'; readonly count: number }
  | { readonly kind: 'replace'; readonly back: number; readonly count: number }
  | { readonly kind: 'truncate'; readonly back: number }
  | { readonly kind: 'prefix'; readonly by: number }
  | { readonly kind: 'reset'; readonly to: number }
  | { readonly kind: 'meta' }
  | { readonly kind: 'snapshot' };

export type Step =
  | Change
  | { readonly kind: 'swap' }
  | { readonly kind: 'new-mirror' }
  | { readonly kind: 'age' }
  /** One side is altered, and nobody is told. */
  | {
      readonly kind: 'differ';
      readonly on: 'primary' | 'mirror';
      readonly part: 'log' | 'meta' | 'snapshot';
      /** Of an entry, from the log's end. */
      readonly back: number;
    }
  | {
      readonly kind: 'validate';
      /** Cut off after so many reports; null: not at all. */
      readonly stopAfter: number | null;
      /** What is written before it begins to read, and while it reads. */
      readonly before: Change | null;
      readonly meanwhile: Change | null;
    };

type Validation = Extract<Step, { kind: 'validate' }>;

let pairs = 0;

export class ValidatedPair {
  readonly #pair: Pair;
  readonly #validation: PairValidation;
  #nowMs = 0;
  #made = 0;
  /** Below it nothing needs to be read again, as far as the log's changes go. */
  #surelyRead = 0n;
  /** From it on nothing can have been read. */
  #perhapsRead = 0n;
  #snapshot = { surelyRead: false, perhapsRead: false };
  /** What was altered, and whether it was where nothing had been read. */
  #altered: { readonly mustBeFound: boolean } | null = null;

  private constructor(pair: Pair) {
    this.#pair = pair;
    const clockMs = () => this.#nowMs;
    this.#validation = new PairValidation({ fullEverySeconds, now: () => 'now', clockMs });
  }

  static async open(): Promise<ValidatedPair> {
    pairs += 1;
    const directory = `/validated-${pairs}`;
    const pair = { primary: memoryFamily, mirror: memoryFamily, directory: () => directory };
    const uris = { log: directory, meta: directory, snapshot: directory };
    const context = { files: new CrashFileLayer(1) };
    return new ValidatedPair(await openPairAt(pair, uris, { mode: 'create', context }));
  }

  close(): Promise<void> {
    return this.#pair.instance.close();
  }

  /** False once a difference was found: there is nothing to go on with then. */
  async take(step: Step): Promise<boolean> {
    if (step.kind === 'validate') return this.#validate(step);
    await this.#do(step);
    return true;
  }

  async #do(step: Exclude<Step, Validation>): Promise<void> {
    switch (step.kind) {
      case 'swap':
        return this.#pair.instance.alone(async () => this.#pair.engine.swap());
      case 'new-mirror':
        return this.#replaceMirror();
      case 'age':
        this.#nowMs += fullEverySeconds * 1000;
        return this.#nothingRead();
      case 'differ':
        return this.#alter(step);
      case 'append':
      case 'replace':
      case 'truncate':
      case 'prefix':
      case 'reset':
      case 'meta':
      case 'snapshot':
        return this.#change(step);
    }
  }

  async #validate({ stopAfter, before, meanwhile }: Validation): Promise<boolean> {
    return withPinned(this.#pair, async (pinned) => {
      const { primary, mirror } = pinned;
      if (mirror === null) throw new Error('it has a mirror');
      const full = await compareInstances(primary, mirror);
      const most = this.#mostBytes(pinned);
      const { lastIndex } = primary.state();
      // What is written from now on counts as changed after this cut.
      [this.#perhapsRead, this.#snapshot.perhapsRead] = [lastIndex + 1n, true];
      const sure = { read: lastIndex + 1n, at: this.#surelyRead };
      if (before !== null) await this.#change(before);
      const stop = new AbortController();
      let reports = 0;
      let given = meanwhile;
      const found = this.#validation.compare(this.#pair.engine, pinned, {
        signal: stop.signal,
        onProgress: () => {
          if (reports === stopAfter) stop.abort(new Error('cut off'));
          reports += 1;
        },
        giveWay: async () => {
          const change = given;
          given = null;
          if (change !== null) await this.#change(change);
        },
      });
      try {
        const { a, b, bytesRead } = await found;
        if (this.#altered?.mustBeFound === true) expect(full.equal).toBe(true);
        if (full.equal) expect([a, b]).toEqual([full.a, full.b]);
        if (before === null) expect(bytesRead).toBeLessThanOrEqual(most);
        // What was changed meanwhile has lowered it.
        const isUnchanged = this.#surelyRead === sure.at;
        if (isUnchanged && before === null && meanwhile === null) {
          this.#surelyRead = sure.read;
          this.#snapshot.surelyRead = true;
        }
        return true;
      } catch (error) {
        if (hasCode(error, 'state.different')) {
          expect(full.equal).toBe(false);
          return false;
        }
        const isExpected = stop.signal.aborted || hasCode(error, 'image.source-changed');
        if (!isExpected) throw error;
        return true;
      }
    });
  }

  /** What a validation of this cut may read of both sides: less is as good. */
  #mostBytes({ primary }: PinnedPair): number {
    const { firstIndex, lastIndex } = primary.state();
    const known = (this.#surelyRead / leaf) * leaf;
    const tail = lastIndex + 1n - (known > firstIndex ? known : firstIndex);
    const head = known > firstIndex && firstIndex % leaf !== 0n ? leaf - (firstIndex % leaf) : 0n;
    const snapshot = this.#snapshot.surelyRead ? 0 : snapshotBytes;
    return 2 * (Number(tail + head) * entryBytes + snapshot);
  }

  async #change(change: Change): Promise<void> {
    const { instance } = this.#pair;
    const { firstIndex, lastIndex } = instance.state();
    switch (change.kind) {
      case 'append':
        await instance.apply({ entries: this.#entries(lastIndex, change.count) });
        return this.#changed(lastIndex + 1n);
      case 'replace': {
        const kept = maximum(lastIndex - BigInt(change.back), firstIndex - 1n);
        const entries = this.#entries(kept, change.count);
        await instance.apply({ truncate: { lastKept: kept }, entries });
        return this.#changed(kept + 1n);
      }
      case 'truncate': {
        const lastKept = maximum(lastIndex - BigInt(change.back), firstIndex - 1n);
        await instance.apply({ truncate: { lastKept } });
        return this.#changed(lastKept + 1n);
      }
      case 'prefix':
        return instance.apply({ truncate: { firstKept: firstIndex + BigInt(change.by) } });
      case 'reset':
        await instance.apply({ reset: BigInt(change.to) });
        return this.#changed(0n);
      case 'meta':
        this.#made += 1;
        return instance.apply({ meta: { term: BigInt(1000 + this.#made) } });
      case 'snapshot':
        this.#made += 1;
        this.#snapshot = { surelyRead: false, perhapsRead: false };
        return publish(instance, BigInt(this.#made), this.#made);
    }
  }

  #changed(index: bigint): void {
    this.#surelyRead = minimum(this.#surelyRead, index);
    this.#perhapsRead = minimum(this.#perhapsRead, index);
  }

  #nothingRead(): void {
    this.#changed(0n);
    this.#snapshot = { surelyRead: false, perhapsRead: false };
    if (this.#altered !== null) this.#altered = { mustBeFound: true };
  }

  #entries(after: bigint, count: number): NonNullable<Mutation['entries']> {
    const list: LogEntry[] = [];
    for (let i = 1n; i <= BigInt(count); i += 1n) {
      this.#made += 1;
      const payload = Buffer.alloc(entryBytes - entryHeaderBytes, this.#made);
      list.push({ index: after + i, term: BigInt(this.#made), type: 2, payload });
    }
    return { after, batches: [batchOf(list)] };
  }

  async #replaceMirror(): Promise<void> {
    const { instance, engine } = this.#pair;
    pairs += 1;
    const uris = memoryFamily.expand(`memory://validated-mirror-${pairs}`);
    const context = { files: new CrashFileLayer(1) };
    await instance.alone(async () => {
      await engine.detach().close();
      const staging = await memoryFamily.stage(uris, context);
      await copyState(engine.primary, staging);
      await staging.publish();
      engine.attach(await memoryFamily.open(uris, 'read-write', context));
    });
    this.#nothingRead();
  }

  /** At most once: two could undo each other. */
  async #alter({ on, part, back }: Extract<Step, { kind: 'differ' }>): Promise<void> {
    const { engine } = this.#pair;
    const side = on === 'primary' ? engine.primary : engine.mirror;
    if (this.#altered !== null || side === null) return;
    const { firstIndex, lastIndex, snapshot } = side.state();
    if (part === 'log' && firstIndex <= lastIndex) {
      const index = maximum(lastIndex - BigInt(back), firstIndex);
      this.#altered = { mustBeFound: index >= (this.#perhapsRead / leaf) * leaf };
      await alterEntry(side, index);
    } else if (part === 'snapshot' && snapshot !== null) {
      this.#altered = { mustBeFound: !this.#snapshot.perhapsRead };
      await publish(side, snapshot.lastIncludedIndex, 255);
    } else {
      this.#altered = { mustBeFound: true };
      await side.apply({ meta: { auxiliary: new Map([['altered', Buffer.from('behind')]]) } });
    }
  }
}

const snapshotBytes = 2 * 2000;

async function publish(instance: Instance, index: bigint, fill: number): Promise<void> {
  const of = { lastIncludedIndex: index, lastIncludedTerm: 1n, peers: [], oldPeers: [] };
  const writer = await instance.snapshots.begin({ ...of, auxiliary: new Map() });
  await writer.file({ path: 'same', userMeta: null }, [Buffer.alloc(2000, 1)]);
  await writer.file({ path: 'other', userMeta: null }, [Buffer.alloc(2000, fill)]);
  await instance.apply({ snapshot: await writer.prepare() });
}

async function alterEntry(side: Instance, index: bigint): Promise<void> {
  const { lastIndex } = side.state();
  const list: LogEntry[] = [];
  for await (const batch of side.read(index, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) list.push(entryAt(batch, i));
  }
  const [first, ...rest] = list;
  if (first === undefined) return;
  const payload = Buffer.from(first.payload);
  payload.writeUInt8(payload.readUInt8(7) ^ 1, 7);
  const batches = [batchOf([{ ...first, payload }, ...rest])];
  const lastKept = index - 1n;
  await side.apply({ truncate: { lastKept }, entries: { after: lastKept, batches } });
}

function minimum(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function maximum(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
