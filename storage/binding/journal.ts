/**
 * The journal: an append-only file of JSON lines, durable before what they describe (I18).
 *
 * Each line is one object and ends with a line feed. It carries `seq`, counted from 1, and `prev`,
 * the SHA-256 of the line before without its line feed (64 zeros in the first), so that a line
 * altered, removed or moved shows. A crash can leave only the last line unfinished: it was promised
 * to nobody, reading leaves it out, and the next append cuts it off.
 *
 * One process appends at a time; the binding's journal is appended to under `record.lock`.
 */
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';

import { assert, fail, type QuorumshiftError } from '../../core/errors.ts';
import type { FileHandle, FileLayer } from '../file-layer.ts';
import { readWhole } from '../files.ts';

export type JournalLine = Readonly<Record<string, unknown>>;

/** A line is some kilobytes; the bound says how far from the end an append must look. */
const maxLineBytes = 1024 * 1024;

/** Some hundred thousand lines: more than the migrations of any replica's life. */
const maxJournalBytes = 512 * 1024 * 1024;

const noPrevious = '0'.repeat(64);
const lineFeed = 0x0a;

/**
 * Appends `line`; durable when resolved. `seq` and `prev` are added.
 * @throws `data.corrupt` when the last line cannot be read
 */
export async function appendJournal(
  files: FileLayer,
  path: string,
  line: JournalLine,
): Promise<void> {
  const present = (await files.stat(path)) !== null;
  const file = await files.open(path, present ? 'read-write' : 'create-exclusive');
  try {
    const { end, last } = await readTail(file, path);
    const seq = last === null ? 1 : seqOf(last, { path, offset: end }) + 1;
    const prev = last === null ? noPrevious : sha256(last);
    const bytes = Buffer.from(`${JSON.stringify({ ...line, seq, prev })}\n`);
    assert(bytes.length <= maxLineBytes, 'a journal line is at most 1 MiB');
    await writeAt(file, bytes, end);
  } finally {
    await file.close();
  }
  // Each time: an append before this one may have died between the file's sync and this.
  await files.syncDirectory(dirname(path));
}

/**
 * A failed write or sync takes its line back: the next one must not follow a line that may be lost.
 */
async function writeAt(file: FileHandle, bytes: Buffer, end: number): Promise<void> {
  try {
    if ((await file.size()) > end) await file.truncate(end);
    await file.write(bytes, end);
    await file.sync();
  } catch (error) {
    await file.truncate(end).catch(() => {});
    throw error;
  }
}

/** All finished lines, parsed; empty when there is no file. @throws `data.corrupt` */
export async function readJournal(files: FileLayer, path: string): Promise<JournalLine[]> {
  const { lines } = await readLines(files, path);
  return lines.map(({ bytes, offset }) => parseLine(bytes, { path, offset }));
}

/**
 * Checks the chain of hashes.
 * @returns number of lines, the last one's hash (null when none), and bytes of an unfinished one
 * @throws `data.corrupt`, naming the first line that does not follow its predecessor
 */
export async function verifyJournal(
  files: FileLayer,
  path: string,
): Promise<{ lines: number; head: string | null; tornBytes: number }> {
  const { lines, tornBytes } = await readLines(files, path);
  let head = noPrevious;
  for (const [before, { bytes, offset }] of lines.entries()) {
    const { seq, prev } = parseLine(bytes, { path, offset });
    if (seq !== before + 1 || prev !== head) {
      throw corrupt({ path, offset }, `line ${before + 1} does not follow the one before it`);
    }
    head = sha256(bytes);
  }
  return { lines: lines.length, head: lines.length === 0 ? null : head, tornBytes };
}

interface Place {
  readonly path: string;
  readonly offset: number;
}

async function readLines(files: FileLayer, path: string) {
  const bytes = (await readWhole(files, path, maxJournalBytes)) ?? Buffer.alloc(0);
  const lines: { bytes: Buffer; offset: number }[] = [];
  let offset = 0;
  for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, offset)) {
    lines.push({ bytes: bytes.subarray(offset, end), offset });
    offset = end + 1;
  }
  if (isUnfinished(lines.at(-1)?.bytes)) offset = lines.pop()?.offset ?? 0;
  return { lines, tornBytes: bytes.length - offset };
}

/** Where the last finished line ends, and that line without its line feed. */
async function readTail(
  file: FileHandle,
  path: string,
): Promise<{ end: number; last: Buffer | null }> {
  const size = await file.size();
  // An unfinished line, the one before it, and the line feed before that.
  const start = Math.max(0, size - 2 * maxLineBytes - 1);
  const tail = Buffer.alloc(size - start);
  for (let filled = 0; filled < tail.length;) {
    const got = await file.read(tail, filled, tail.length - filled, start + filled);
    if (got === 0) break;
    filled += got;
  }
  for (let end = tail.lastIndexOf(lineFeed); end >= 0;) {
    const before = end === 0 ? -1 : tail.lastIndexOf(lineFeed, end - 1);
    const last = tail.subarray(before + 1, end);
    if (!isUnfinished(last)) return { end: start + end + 1, last };
    end = before;
  }
  if (start > 0) throw corrupt({ path, offset: start }, 'no line ends in its last 2 MiB');
  return { end: 0, last: null };
}

/** Pages that never reached the disk read as zeros, which JSON text never holds. */
function isUnfinished(line: Buffer | undefined): boolean {
  return line?.includes(0) === true;
}

function parseLine(bytes: Buffer, place: Place): JournalLine {
  try {
    const line: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof line === 'object' && line !== null) return Object.fromEntries(Object.entries(line));
  } catch (cause) {
    throw corrupt(place, 'it is no JSON', cause);
  }
  throw corrupt(place, 'it is no JSON object');
}

function seqOf(line: Buffer, place: Place): number {
  const { seq } = parseLine(line, place);
  if (typeof seq !== 'number') throw corrupt(place, 'the last line has no number');
  return seq;
}

function sha256(line: Buffer): string {
  return createHash('sha256').update(line).digest('hex');
}

function corrupt({ path, offset }: Place, reason: string, cause?: unknown): QuorumshiftError {
  return fail('data.corrupt', { file: path, offset, reason }, { cause });
}
