/**
 * The end of the audit chain in a second place: `audit.head` beside the database, written durably
 * after each append. A database that lost its end (a restored backup, a lost write-ahead log,
 * lines cut off) does not reach it any more.
 *
 * Two slots of one line each, used in turn, so that a write that a power loss tore leaves the slot
 * before it. The higher one that is whole counts. It may be behind by what was under way in a
 * crash; never ahead.
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';

import { emptyHead, type AuditHead } from './audit-chain.ts';

const slotBytes = 128;
const ownerOnly = 0o600;
const pattern = /^(\d{1,15}) ([0-9a-f]{64}) ([0-9a-f]{8}) *\n$/;

/** @returns the empty head when there is no file yet */
export function readAuditHead(path: string): AuditHead {
  const bytes = Buffer.alloc(2 * slotBytes);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return emptyHead;
    throw error;
  }
  try {
    readSync(file, bytes, 0, bytes.length, 0);
  } finally {
    closeSync(file);
  }
  const slots = [bytes.subarray(0, slotBytes), bytes.subarray(slotBytes)].map(parse);
  return slots.reduce((last, slot) => (slot.seq > last.seq ? slot : last), emptyHead);
}

/** Durable when it returns. Of two writers the later line counts, whichever writes last. */
export function writeAuditHead(path: string, head: AuditHead): void {
  const text = `${head.seq} ${head.hash}`;
  const slot = Buffer.from(`${`${text} ${checksum(text)}`.padEnd(slotBytes - 1)}\n`);
  const file = openOrMake(path);
  try {
    writeSync(file, slot, 0, slotBytes, (head.seq % 2) * slotBytes);
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

function openOrMake(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    const file = openSync(path, constants.O_RDWR | constants.O_CREAT, ownerOnly);
    const directory = openSync(dirname(path), 'r');
    fsyncSync(directory);
    closeSync(directory);
    return file;
  }
}

function parse(slot: Buffer): AuditHead {
  const [, seq, hash, crc] = pattern.exec(slot.toString('latin1')) ?? [];
  if (seq === undefined || hash === undefined || crc !== checksum(`${seq} ${hash}`)) {
    return emptyHead;
  }
  return { seq: Number(seq), hash };
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(8, '0');
}
