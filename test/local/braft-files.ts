/** Files of braft made by hand, field by field, for situations that no writer of ours produces. */
import { crc32c } from '@node-rs/crc32';

import { murmur3 } from '../../storage/families/local/checksum.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { makeDirectories } from '../../storage/files.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';

export interface RecordFields {
  readonly term?: number;
  readonly type?: number;
  /** Checksum kind: 0 murmur, 1 CRC-32C. */
  readonly kind?: number;
  readonly reserved?: number;
  readonly payload?: Uint8Array | string;
}

export function record(fields: RecordFields = {}): Buffer {
  const { term = 1, type = 2, kind = 1, reserved = 0 } = fields;
  const payload = Buffer.from(fields.payload ?? 'payload');
  const checksum = kind === 0 ? murmur3 : (bytes: Buffer) => crc32c(bytes);
  const header = Buffer.alloc(24);
  header.writeBigInt64BE(BigInt(term), 0);
  header[8] = type;
  header[9] = kind;
  header.writeUInt16BE(reserved, 10);
  header.writeUInt32BE(payload.length, 12);
  header.writeUInt32BE(checksum(payload), 16);
  header.writeUInt32BE(checksum(header.subarray(0, 20)), 20);
  return Buffer.concat([header, payload]);
}

export function records(count: number, fields: RecordFields = {}): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => record(fields)));
}

/** The bytes with one bit of byte `at` flipped; negative: from the end. */
export function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const place = at < 0 ? copy.length + at : at;
  copy[place] = (copy[place] ?? 0) ^ 1;
  return copy;
}

/** A ProtoBufFile around a message given as hex. */
export function framed(hex: string): Buffer {
  const message = Buffer.from(hex, 'hex');
  const length = Buffer.alloc(4);
  length.writeInt32BE(message.length);
  return Buffer.concat([length, message]);
}

export function closed(first: number, last: number): string {
  return `log/log_${pad(first)}_${pad(last)}`;
}

export function inProgress(first: number): string {
  return `log/log_inprogress_${pad(first)}`;
}

export function pad(index: number): string {
  return String(index).padStart(20, '0');
}

/** `log_meta` of a log that begins at 1. */
export const logMeta1 = { 'log/log_meta': framed('0801') };

export async function placeFile(files: FileLayer, path: string, bytes: Uint8Array): Promise<void> {
  await makeDirectories(files, path.slice(0, path.lastIndexOf('/')));
  const file = await files.open(path, 'create');
  await file.write(bytes, 0);
  await file.sync();
  await file.close();
}

/** A file layer with these files below `/data/a`. */
export async function directoryOf(
  content: Readonly<Record<string, Uint8Array>>,
): Promise<CrashFileLayer> {
  const files = new CrashFileLayer(1);
  for (const [path, bytes] of Object.entries(content)) {
    await placeFile(files, `/data/a/${path}`, bytes);
  }
  return files;
}
