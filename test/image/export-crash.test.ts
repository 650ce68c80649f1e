import { expect, test } from 'vitest';

import type { Instance } from '../../storage/contracts.ts';
import { fileSink } from '../../storage/image/image-sink.ts';
import { fileBytes } from '../../storage/image/image-source.ts';
import { exportImage, verifyImage } from '../../storage/image/transfer-image.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';
import { sampleInstance } from './sample-state.ts';

const path = '/images/a.image';

test('a crash at any operation of an export leaves no image or the whole one, and the next export works [BOOT-4]', async () => {
  const seed = Date.now() % 1_000_000;
  const source = await sampleInstance({ entries: 50 });
  const { root } = await exportedDigest(source);
  const operations = await everyCrash({
    seed,
    prepare: async (files) => {
      await files.makeDirectory('/images');
      await files.syncDirectory('/');
    },
    run: async (files) => {
      await exportImage(source, await fileSink(files, path), { sourceFormatVersion: '1' });
    },
    check: async (survivor, { ended }) => {
      const found = await survivor.stat(path);
      if (ended && found === null) throw new Error(`seed ${seed}: a finished export is gone`);
      if (found === null) {
        await exportImage(source, await fileSink(survivor, path), { sourceFormatVersion: '1' });
      }
      const { digest } = await verifyImage(fileBytes(survivor, path));
      if (digest.root !== root) throw new Error(`seed ${seed}: it is another state`);
      const names = await survivor.list('/images');
      if (found === null && names.length !== 1) throw new Error(`left over: ${names.join()}`);
    },
  });
  expect(operations).toBeGreaterThan(5);
});

async function exportedDigest(source: Instance): Promise<{ root: string }> {
  const sink = { write: async () => {}, finish: async () => {}, abort: async () => {} };
  return (await exportImage(source, sink, { sourceFormatVersion: '1' })).digest;
}
