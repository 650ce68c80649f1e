/**
 * Export of an instance to an image, import of an image into a staging place, and its check alone.
 */
import { assert } from '../../core/errors.ts';
import type { Instance, StagingInstance } from '../contracts.ts';
import type { ImageHeader } from './image-format.ts';
import { readImage, verifiedState } from './image-reader.ts';
import type { ImageSink } from './image-sink.ts';
import type { ImageBytes } from './image-source.ts';
import { writeImage, type WrittenImage } from './image-writer.ts';
import { importState } from './import-state.ts';
import { prefetch } from './prefetch.ts';
import { StateDigester, type StateDigest } from './state-digester.ts';
import {
  exportState,
  requireUnchanged,
  TransferMeter,
  type StateCounts,
  type StateSection,
  type TransferOptions,
} from './state-stream.ts';

export interface ExportImageOptions extends TransferOptions {
  /** {@link Family.formatVersion} of the instance's family. */
  readonly sourceFormatVersion: string;
}

/**
 * Writes the image of `instance` into `sink` and finishes it; on a failure aborts it. The image is
 * the same bytes for the same state, source family and release.
 * @throws `image.source-changed`, `data.corrupt`, `snapshot.file-missing`, `limit.exceeded`; the
 *   sink's errors; the signal's reason
 */
export async function exportImage(
  instance: Instance,
  sink: ImageSink,
  options: ExportImageOptions,
): Promise<WrittenImage> {
  try {
    const before = instance.state();
    const header = imageHeaderOf(instance, options.sourceFormatVersion);
    const written = await writeImage(exportState(instance, { ...options, passing: true }), {
      header,
      sink,
    });
    requireUnchanged(instance, before);
    await sink.finish();
    return written;
  } catch (error) {
    await sink.abort().catch(() => {});
    throw error;
  }
}

function imageHeaderOf(instance: Instance, sourceFormatVersion: string): ImageHeader {
  const { firstIndex, lastIndex, meta, snapshot } = instance.state();
  const snapshotIndex = snapshot?.lastIncludedIndex ?? null;
  const cut = { firstIndex, lastIndex, term: meta.term, snapshotIndex };
  return { sourceFamily: instance.family, sourceFormatVersion, cut };
}

export interface ImportImageOptions extends TransferOptions {
  /** For tests: smaller steps. */
  readonly checkpointBytes?: number;
}

/**
 * Reads the whole image into `staging` and makes it durable there; does not publish. After an
 * interruption the image is read again from its beginning, its known part is proved to be the same,
 * and only what is missing is appended. When it rejects, nothing of the image counts as imported.
 * @throws `image.corrupt`, `image.unsupported-version`, `image.resume-mismatch`, `limit.exceeded`;
 *   the signal's reason
 */
export async function importImage(
  image: ImageBytes,
  staging: StagingInstance,
  options: ImportImageOptions = {},
): Promise<{ digest: StateDigest; counts: StateCounts }> {
  const digester = new StateDigester();
  const { wantsPayloadCrc32c: payloadCrc32c = false } = staging;
  const read = prefetch(readImage(image, { passing: true, payloadCrc32c }));
  const sections = metered(verifiedState(read, digester), options);
  await importState(sections, {
    staging,
    digester,
    ...(options.checkpointBytes !== undefined && { checkpointBytes: options.checkpointBytes }),
  });
  return digester.finish();
}

/**
 * Reads the whole image and proves it whole.
 * @throws `image.corrupt`, `image.unsupported-version`
 */
export async function verifyImage(
  image: ImageBytes,
  options: TransferOptions = {},
): Promise<{ header: ImageHeader; digest: StateDigest; counts: StateCounts }> {
  let header: ImageHeader | null = null;
  const digester = new StateDigester();
  const sections = prefetch(readImage(image, { passing: true }));
  const noticed = (async function* () {
    for await (const section of sections) {
      if (section.kind === 'header') header = section.header;
      yield section;
    }
  })();
  for await (const section of metered(verifiedState(noticed, digester), options)) {
    digester.add(section);
  }
  const found: ImageHeader | null = header;
  assert(found !== null, 'an image without a header is refused');
  return { header: found, ...digester.finish() };
}

/** Progress and pace of the sections passing. */
async function* metered(
  sections: AsyncIterable<StateSection>,
  options: TransferOptions,
): AsyncGenerator<StateSection> {
  let meter: TransferMeter | null = null;
  for await (const section of sections) {
    if (section.kind === 'range') meter = new TransferMeter({ ...section, options });
    yield section;
    if (section.kind === 'entries') await meter?.entries(section.batch);
    if (section.kind === 'fileBytes') await meter?.fileBytes(section.bytes.length);
  }
}
