/**
 * A file's bytes seen twice: as running programs see them, and as the disk surely holds them. The
 * difference is a list of changes that a crash keeps or loses.
 */
import type { SeededRandom } from './seeded-random.ts';

type Change = { /** A failed sync gave it up: a later sync does not save it. */ lost: boolean } & (
  | { readonly kind: 'write'; readonly position: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly size: number }
);

/** Bytes that grow; beyond `size` the buffer is zero. */
class Bytes {
  size = 0;
  #buffer = Buffer.alloc(0);

  view(): Buffer {
    return this.#buffer.subarray(0, this.size);
  }

  write(bytes: Uint8Array, position: number): void {
    if (bytes.length === 0) return;
    this.extend(position + bytes.length);
    this.#buffer.set(bytes, position);
  }

  extend(size: number): void {
    if (size > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(size, this.#buffer.length * 2));
      grown.set(this.view());
      this.#buffer = grown;
    }
    this.size = Math.max(this.size, size);
  }

  truncate(size: number): void {
    if (size < this.size) this.#buffer.fill(0, size, this.size);
    else this.extend(size);
    this.size = size;
  }

  apply(change: Change): void {
    if (change.kind === 'write') this.write(change.bytes, change.position);
    else this.truncate(change.size);
  }
}

export class CrashContent {
  readonly #seen = new Bytes();
  readonly #durable = new Bytes();
  #pending: Change[] = [];

  /** Content that is durable from the start. */
  static durable(bytes: Uint8Array): CrashContent {
    const content = new CrashContent();
    content.write(bytes, 0);
    content.sync();
    return content;
  }

  get size(): number {
    return this.#seen.size;
  }

  get hasUnsynced(): boolean {
    return this.#pending.length > 0;
  }

  view(): Buffer {
    return this.#seen.view();
  }

  write(bytes: Uint8Array, position: number): void {
    this.#change({ kind: 'write', position, bytes: Buffer.from(bytes), lost: false });
  }

  truncate(size: number): void {
    this.#change({ kind: 'truncate', size, lost: false });
  }

  sync(): void {
    for (const change of this.#pending) if (!change.lost) this.#durable.apply(change);
    this.#pending = this.#pending.filter((change) => change.lost);
  }

  /** As Linux: after a failed fsync the dirty pages count as clean, and the next fsync succeeds. */
  failSync(): void {
    for (const change of this.#pending) change.lost = true;
  }

  /** What a crash leaves: all unsynced changes, none, or each by chance. */
  survivor(random: SeededRandom): Buffer {
    const left = new Bytes();
    left.write(this.#durable.view(), 0);
    const fate = random.below(4);
    for (const change of fate === 0 ? [] : this.#pending) {
      // A size that shrank is journaled in order: what was written after it needs it.
      if (change.kind === 'truncate' && fate > 1 && random.chance()) break;
      if (change.kind === 'truncate' || fate === 1) left.apply(change);
      else surviveWrite(left, change, random);
    }
    return Buffer.from(left.view());
  }

  #change(change: Change): void {
    this.#seen.apply(change);
    this.#pending.push(change);
  }
}

/** Pages reach the disk in any order: whole, in part, as a hole of zeros, or not at all. */
function surviveWrite(
  left: Bytes,
  { bytes, position }: { bytes: Buffer; position: number },
  random: SeededRandom,
): void {
  const fate = random.below(4);
  if (fate === 0) left.write(bytes, position);
  if (fate === 1) left.write(bytes.subarray(0, random.below(bytes.length)), position);
  if (fate === 2) left.extend(position + bytes.length);
}
