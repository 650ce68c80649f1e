/**
 * braft's ProtoBufFile: a 4-byte big-endian length and one protobuf message, without checksum.
 * Bytes after the message are ignored when read. Written durably: temporary file, fsync, rename,
 * fsync of the directory (braft leaves the last one out).
 */
import { fail } from '../../../core/errors.ts';
import type { FileLayer } from '../../file-layer.ts';
import { isErrno, readWhole, writeDurably } from '../../files.ts';

const lengthBytes = 4;

/**
 * log_meta and raft_meta have some tens of bytes; what follows the message is ignored, but bounded.
 */
export const maxSmallFileBytes = 1024 * 1024;

export function frameMessage(message: Uint8Array): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeInt32BE(message.length);
  return Buffer.concat([length, message]);
}

/**
 * The message in the file; null when there is no file.
 * @throws `data.corrupt` when the file is shorter than it says
 */
export async function readProtobufFile(
  files: FileLayer,
  path: string,
  maxBytes: number,
): Promise<Buffer | null> {
  const bytes = await readWhole(files, path, maxBytes).catch((error: unknown) => {
    if (!isErrno(error, 'EISDIR')) throw error;
    throw fail('data.corrupt', { file: path, offset: 0, reason: 'it is a directory' });
  });
  if (bytes === null) return null;
  if (bytes.length < lengthBytes) {
    throw fail('data.corrupt', { file: path, offset: 0, reason: 'it has no whole length' });
  }
  const length = bytes.readInt32BE(0);
  if (length < 0 || length > bytes.length - lengthBytes) {
    const reason = `it says ${length} bytes and has ${bytes.length - lengthBytes}`;
    throw fail('data.corrupt', { file: path, offset: 0, reason });
  }
  return bytes.subarray(lengthBytes, lengthBytes + length);
}

export async function writeProtobufFile(
  files: FileLayer,
  path: string,
  message: Uint8Array,
): Promise<void> {
  await writeDurably(files, path, frameMessage(message));
}
