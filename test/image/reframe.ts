/** Images taken apart and put together with right checksums: what a forger could do. */
import { Blake3Hasher } from '@napi-rs/blake-hash';
import { crc32c } from '@node-rs/crc32';

import {
  frameHeaderBytes,
  integrityContext,
  isBulk,
  preambleBytes,
  readFrameHeader,
  Section,
  writeFrameHeader,
} from '../../storage/image/image-format.ts';

export interface TestFrame {
  readonly section: number;
  readonly version: number;
  readonly flags: number;
  /** Null: the frame's place. */
  readonly sequence: bigint | null;
  readonly contentBytes: number;
  readonly stored: Buffer;
}

export function framesOf(image: Buffer): TestFrame[] {
  const frames: TestFrame[] = [];
  for (let at = preambleBytes; at < image.length;) {
    const header = readFrameHeader(image.subarray(at, at + frameHeaderBytes), at);
    at += frameHeaderBytes + header.storedBytes;
    const { section, version, flags, contentBytes } = header;
    const stored = image.subarray(at - header.storedBytes, at);
    frames.push({ section, version, flags, sequence: null, contentBytes, stored });
  }
  return frames;
}

/** The frames as an image; the integrity hash is made right unless `keepsIntegrity`. */
export function imageOfFrames(
  preamble: Buffer,
  frames: readonly TestFrame[],
  options: { readonly keepsIntegrity?: boolean } = {},
): Buffer {
  const parts: Buffer[] = [preamble.subarray(0, preambleBytes)];
  const covered = [...parts];
  for (const [i, frame] of frames.entries()) {
    const stored = Buffer.from(frame.stored);
    if (frame.section === Section.END && options.keepsIntegrity !== true) {
      const hash = Blake3Hasher.deriveKey(integrityContext, Buffer.concat(covered));
      hash.copy(stored, stored.length - hash.length);
    }
    const head = Buffer.alloc(frameHeaderBytes);
    writeFrameHeader(head, {
      ...frame,
      sequence: frame.sequence ?? BigInt(i),
      storedBytes: stored.length,
      storedCrc: crc32c(stored),
    });
    parts.push(head, stored);
    covered.push(head, ...(isBulk(frame.section) ? [] : [stored]));
  }
  return Buffer.concat(parts);
}
