/**
 * Small files of our own beside braft's: one line `<format> <crc32c in hex>`, then JSON, so that a
 * damaged file is never believed. Bytes are base64 in it, int64 decimal strings.
 */
import { crc32c } from '@node-rs/crc32';

import { fail } from '../../../core/errors.ts';
import type { Auxiliary } from '../../contracts.ts';
import type { FileLayer } from '../../file-layer.ts';
import { readWhole, writeDurably } from '../../files.ts';

/** Auxiliary holds a library's few small keys; a larger file is no file of ours. */
const maxFileBytes = 256 * 1024 * 1024;

function checksumText(body: Uint8Array): string {
  return crc32c(body).toString(16).padStart(8, '0');
}

export async function writeSealed(
  files: FileLayer,
  path: string,
  content: { format: string; value: unknown },
): Promise<void> {
  const body = Buffer.from(`${JSON.stringify(content.value)}\n`);
  const head = Buffer.from(`${content.format} ${checksumText(body)}\n`);
  await writeDurably(files, path, Buffer.concat([head, body]));
}

/**
 * The value in the file, of the shape that this code wrote; null when there is no file.
 * @throws `data.corrupt`
 */
export async function readSealed(files: FileLayer, path: string, format: string): Promise<unknown> {
  const bytes = await readWhole(files, path, maxFileBytes);
  if (bytes === null) return null;
  const end = bytes.indexOf(0x0a) + 1;
  const body = bytes.subarray(end);
  if (bytes.subarray(0, end).toString('latin1') !== `${format} ${checksumText(body)}\n`) {
    const reason = `it is no intact ${format}`;
    throw fail('data.corrupt', { file: path, offset: 0, reason });
  }
  return JSON.parse(body.toString('utf8'));
}

export type AuxiliaryJson = Readonly<Record<string, string>>;

export function auxiliaryToJson(auxiliary: Auxiliary): AuxiliaryJson {
  const sorted = [...auxiliary].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(sorted.map(([k, v]) => [k, Buffer.from(v).toString('base64')]));
}

export function auxiliaryFromJson(json: AuxiliaryJson): Auxiliary {
  return new Map(Object.entries(json).map(([k, v]) => [k, Buffer.from(v, 'base64')]));
}
