/** One of two states that are read, digested and held against each other. */
import { assert } from '../../core/errors.ts';
import { batchBytes, sliceBatch, type EntryBatch } from '../entry-batch.ts';
import type { DigestedFile, LeafHashes } from '../image/digest-tree.ts';
import {
  StateDigester,
  type StateDigest,
  type StateDigesterOptions,
} from '../image/state-digester.ts';
import type { StateSection } from '../image/state-stream.ts';
import { statesChecksumsOf } from './stated-payloads.ts';

/** What is known of entries whose bytes were found to be those of the other side's. */
export interface EqualEntries {
  readonly twin: EntryBatch;
  /** One hash serves both sides. */
  readonly shared: LeafHashes;
}

export interface SideOptions {
  readonly name: string;
  readonly open: (digester: StateDigester) => AsyncGenerator<StateSection>;
  /** Checks payloads that `open` may leave unchecked; absent: it leaves none. */
  readonly check?: (entries: EntryBatch) => Promise<void>;
  /** What of it need not be read. */
  readonly digest?: StateDigesterOptions;
}

export class Side {
  readonly name: string;
  readonly #options: SideOptions;
  readonly #digester: StateDigester;
  readonly #sections: AsyncGenerator<StateSection>;
  /** Read, and not compared yet. */
  #batch: EntryBatch | null = null;
  #last: StateSection['kind'] | null = null;
  /** Read so far, and to be read. */
  bytes = 0;
  entriesDone = 0;
  entriesTotal = 0;

  constructor(options: SideOptions) {
    this.name = options.name;
    this.#options = options;
    this.#digester = new StateDigester(options.digest);
    this.#sections = options.open(this.#digester);
  }

  /** What has passed of the snapshot's files, whole. */
  get files(): readonly DigestedFile[] {
    return this.#digester.files;
  }

  /** The entries to compare next; null after the log's end. */
  async entries(): Promise<EntryBatch | null> {
    while (this.#batch === null && this.#last !== 'snapshot') {
      const section = await this.next();
      if (section === null) return null;
      if (section.kind === 'entries') this.#batch = section.batch;
    }
    return this.#batch;
  }

  /** Digests and drops the first `count` of the present entries. */
  async pass(count: number, equal: EqualEntries | null = null): Promise<void> {
    assert(this.#batch !== null && count <= this.#batch.count, 'only what was read is passed');
    const { count: held } = this.#batch;
    const part = sliceBatch(this.#batch, 0, count);
    if (equal === null || !statesChecksumsOf(equal.twin, part)) await this.#options.check?.(part);
    this.#digester.addEntries(part, equal?.shared);
    this.#batch = count === held ? null : sliceBatch(this.#batch, count, held);
    this.entriesDone += count;
  }

  /** The next section, digested unless it holds entries, which {@link pass} digests; or null. */
  async next(): Promise<StateSection | null> {
    const result = await this.#sections.next();
    if (result.done) return null;
    const section = result.value;
    if (section.kind !== 'entries') this.#digester.add(section);
    this.#last = section.kind;
    if (section.kind === 'range') {
      const { firstIndex = 0n, nextIndex = 0n } = this.#options.digest?.known ?? {};
      this.entriesTotal = Number(
        section.lastIndex - section.firstIndex + 1n - (nextIndex - firstIndex),
      );
    }
    if (section.kind === 'entries') this.bytes += batchBytes(section.batch);
    if (section.kind === 'fileBytes') this.bytes += section.bytes.length;
    return section;
  }

  digest(): StateDigest {
    return this.#digester.finish().digest;
  }

  async close(): Promise<void> {
    await this.#sections.return(undefined);
  }
}
