/**
 * The snapshots of a pair after a crash (DUAL-7). The watermark names the one that was being
 * published, by the tag under which both sides had prepared it before. The primary commits first:
 * so once it no longer holds it prepared it has published it, and the mirror publishes what it
 * holds itself; nothing is copied. While the primary still holds it, nobody has published it, and
 * both discard it.
 */
import { isDeepStrictEqual } from 'node:util';

import type {
  FoundSnapshot,
  Instance,
  SnapshotFile,
  SnapshotMeta,
  SnapshotReader,
} from '../contracts.ts';
import type { RecoverySides, Side } from './plan-recovery.ts';
import type { NamedSnapshot } from './watermark.ts';

/**
 * Leaves one snapshot on both sides, and nothing prepared. Where a side lacks what the other has
 * published, and holds nothing prepared to publish in its place, it is copied.
 */
export async function settleSnapshots(
  sides: RecoverySides,
  named: NamedSnapshot | null,
): Promise<void> {
  const from = await sideToFollow(sides, named);
  let published: FoundSnapshot | null = null;
  if (from !== null) {
    const to = from === 'primary' ? 'mirror' : 'primary';
    published = await follow({ from: sides[from], to: sides[to] }, named);
  }
  // The mirror's first: while it holds one, that the primary does not says who has published it.
  await discardFound(sides.mirror, published);
  await discardFound(sides.primary, published);
}

/** Aborts whatever a crash left prepared, but for what was published meanwhile. */
export async function discardFound(
  instance: Instance,
  published: FoundSnapshot | null,
): Promise<void> {
  for (const snapshot of await instance.snapshots.found()) {
    if (snapshot !== published) await snapshot.abort();
  }
}

/** The side whose snapshot counts; null when both have the same. */
async function sideToFollow(
  { primary, mirror }: RecoverySides,
  named: NamedSnapshot | null,
): Promise<Side | null> {
  const p = primary.state().snapshot?.lastIncludedIndex ?? -1n;
  const m = mirror.state().snapshot?.lastIncludedIndex ?? -1n;
  if (p !== m) return p > m ? 'primary' : 'mirror';
  // One that replaces another of its index shows by nothing else.
  if (p !== named?.index) return null;
  if ((await preparedAs(mirror, named)) !== null) {
    return (await preparedAs(primary, named)) === null ? 'primary' : null;
  }
  const isOnBoth = named.tag !== null && (await haveSameSnapshot(primary, mirror));
  return isOnBoth ? null : 'primary';
}

/** @returns what `to` had prepared itself, if that is what it has now */
async function follow(
  { from, to }: { readonly from: Instance; readonly to: Instance },
  named: NamedSnapshot | null,
): Promise<FoundSnapshot | null> {
  const published = await from.snapshots.latest();
  if (published === null) return null;
  try {
    const prepared = await preparedAs(to, named);
    if (prepared !== null && isSameSnapshot(prepared, published)) {
      await to.apply({ snapshot: prepared });
      return prepared;
    }
    await copy(published, to);
    return null;
  } finally {
    await published.close();
  }
}

async function preparedAs(
  instance: Instance,
  named: NamedSnapshot | null,
): Promise<FoundSnapshot | null> {
  const found = await instance.snapshots.found();
  return found.find(({ tag }) => tag === named?.tag) ?? null;
}

/** Publishes on `to` what `from` has published; copies its files. */
export async function copySnapshot(from: Instance, to: Instance): Promise<void> {
  const reader = await from.snapshots.latest();
  if (reader === null) return;
  try {
    await copy(reader, to);
  } finally {
    await reader.close();
  }
}

async function copy(reader: SnapshotReader, to: Instance): Promise<void> {
  const writer = await to.snapshots.begin(reader.meta);
  for (const file of reader.files) await writer.file(file, reader.read(file.path));
  await to.apply({ snapshot: await writer.prepare() });
}

/** By metadata and list of files. */
export async function haveSameSnapshot(a: Instance, b: Instance): Promise<boolean> {
  const [x, y] = [await a.snapshots.latest(), await b.snapshots.latest()];
  try {
    return x === null || y === null ? x === y : isSameSnapshot(x, y);
  } finally {
    await x?.close();
    await y?.close();
  }
}

interface Listed {
  readonly meta: SnapshotMeta;
  readonly files: readonly SnapshotFile[];
}

function isSameSnapshot(a: Listed, b: Listed): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

/** With bytes as text, which compares alike whatever array holds them. */
function plain({ meta: { auxiliary, ...rest }, files }: Listed) {
  const values = [...auxiliary].map(([key, value]) => `${key}:${hex(value)}`).toSorted();
  return { ...rest, values, files: files.map(outline) };
}

function outline({ path, bytes, userMeta }: SnapshotFile) {
  return [path, bytes, userMeta && hex(userMeta)];
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
