import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { crc32c } from '@node-rs/crc32';
import { describe, expect, test } from 'vitest';

import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { ignorableFlag } from '../../storage/image/image-format.ts';
import { readImage } from '../../storage/image/image-reader.ts';
import { importImage, verifyImage } from '../../storage/image/transfer-image.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { fileBytes } from '../../storage/image/image-source.ts';
import { dumpState } from '../../storage/testing/state-dump.ts';
import { goldenStates } from './golden-states.ts';
import { framesOf, imageOfFrames } from './reframe.ts';
import { imageOf, piecesOf, publishAndOpen, stageMemory } from './sample-state.ts';

const golden = (name: string) => join('test/golden', `${name}-1.0`);

describe.each(Object.entries(goldenStates))('the golden image "%s"', (name, make) => {
  test('is read as the state that it was made of, with the digest kept beside it [IMG-7]', async () => {
    const source = await make();
    const staging = await stageMemory();
    const image = fileBytes(nodeFileLayer, `${golden(name)}.image`);
    const { digest } = await importImage(image, staging);
    const kept: unknown = JSON.parse(await readFile(`${golden(name)}.digest.json`, 'utf8'));
    expect({ root: digest.root, ...digest.parts }).toEqual(kept);
    expect((await digestInstance(source)).root).toBe(digest.root);
    expect(await dumpState(await publishAndOpen(staging))).toEqual(await dumpState(source));
  });

  test('is what this release writes, byte for byte [IMG-7]', async () => {
    const kept = await readFile(`${golden(name)}.image`);
    expect((await imageOf(await make())).equals(kept)).toBe(true);
  });
});

describe('an image of another version [IMG-4]', () => {
  /** The golden image under another version, its preamble's checksum made right. */
  async function versioned(major: number, minor: number): Promise<Buffer> {
    const bytes = await readFile(`${golden('full')}.image`);
    bytes.writeUInt16BE(major, 8);
    bytes.writeUInt16BE(minor, 10);
    bytes.writeUInt32BE(crc32c(bytes.subarray(0, 12)), 12);
    return bytes;
  }

  test('is refused when the major version is unknown', async () => {
    await expect(verifyImage(piecesOf(await versioned(2, 0)))).rejects.toMatchObject({
      code: 'image.unsupported-version',
    });
  });

  test('of a newer minor version: an unknown section is passed over when ignorable', async () => {
    const bytes = withUnknownSection(await versioned(1, 9), ignorableFlag);
    const kinds: string[] = [];
    for await (const section of readImage(piecesOf(bytes))) kinds.push(section.kind);
    expect(kinds.at(-1)).toBe('trailer');
    const { digest } = await verifyImage(piecesOf(bytes));
    expect(digest.root).toBe((await digestInstance(await goldenStates['full']())).root);
  });

  test('of a newer minor version: an unknown section is refused when not ignorable', async () => {
    const bytes = withUnknownSection(await versioned(1, 9), 0);
    await expect(verifyImage(piecesOf(bytes))).rejects.toMatchObject({
      code: 'image.unsupported-version',
    });
  });

  test('of this minor version: an unknown section is refused even when ignorable', async () => {
    const bytes = withUnknownSection(await versioned(1, 0), 1);
    await expect(verifyImage(piecesOf(bytes))).rejects.toMatchObject({ code: 'image.corrupt' });
  });
});

/** Adds a frame of section 9 after RANGE. */
function withUnknownSection(image: Buffer, flags: number): Buffer {
  const frames = framesOf(image);
  const stored = Buffer.from('from the future');
  const size = { contentBytes: stored.length, stored };
  frames.splice(2, 0, { section: 9, version: 1, flags, sequence: null, ...size });
  return imageOfFrames(image, frames);
}
