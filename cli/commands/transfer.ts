/** `quorumshift export`, `import` and `verify`: offline, on this machine, without Temporal. */
import type { Command } from 'commander';

import { fail } from '../../core/errors.ts';
import {
  discardImport,
  importOffline,
  type OfflineTarget,
} from '../../storage/binding/offline-import.ts';
import { requireUnnamed } from '../../storage/binding/named-instances.ts';
import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { fileSink, streamSink } from '../../storage/image/image-sink.ts';
import {
  beginImage,
  fileBytes,
  streamBytes,
  type ImageBytes,
} from '../../storage/image/image-source.ts';
import type { TransferOptions } from '../../storage/image/state-stream.ts';
import { exportImage, importImage } from '../../storage/image/transfer-image.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import {
  addInstanceOptions,
  addSideOptions,
  areWhole,
  instanceUris,
  sideOptions,
  type InstanceOptions,
  type SideOptions,
} from '../instance-options.ts';
import { bytesText, outputOption, print, stateDirOption, type OutputFormat } from '../output.ts';
import { withProgress } from '../progress.ts';

const files = nodeFileLayer;

const verifyExamples = `
Examples:
  quorumshift verify local:///data/a rocksdb:///data/b
  quorumshift verify --proof /var/lib/quorumshift/replicas/kv/n1/proofs/m1-3-1_7.json
  quorumshift verify local:///data/a rocksdb:///data/b --meta local-merged:///m --group kv_0`;

interface ImageOptions extends InstanceOptions {
  readonly image: string;
  readonly output: OutputFormat;
  readonly stateDir: string;
}

export function addTransfers(program: Command): void {
  const exporting = program
    .command('export')
    .description('write the canonical image of an instance')
    .argument('[instance]', 'short URI, such as local:///data/a')
    .requiredOption('--image <file>', 'image file to make, or - for standard output')
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift export local:///data/a --image a.qsi');
  addInstanceOptions(exporting).action(exportCommand);
  const importing = program
    .command('import')
    .description('make an instance from a canonical image; resumes an interrupted import')
    .argument('[instance]', 'short URI, such as rocksdb:///data/b')
    .option('--image <file>', 'image file, or - for standard input')
    .option('--discard', 'remove what an interrupted import left')
    .addOption(stateDirOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift import --image a.qsi rocksdb:///data/b');
  addInstanceOptions(importing).action(importCommand);
  const verifying = program
    .command('verify')
    .description(
      'compare two instances, an instance and an image, or a proof; exit code 4 when they differ',
    )
    .argument('[instance]', 'short URI')
    .argument('[other]', 'short URI of the other instance')
    .option('--image <file>', 'compare with this image instead; - for standard input')
    .option('--proof <file>', 'hold a proof against its two instances, wherever they lie now')
    .addOption(outputOption())
    .addHelpText('after', verifyExamples);
  addSideOptions(addInstanceOptions(verifying), 'other').action(verifyCommand);
}

async function exportCommand(short: string | undefined, options: ImageOptions): Promise<void> {
  const families = defaultFamilies();
  const uris = instanceUris(families, short, options);
  const instance = await families.open(uris, 'read-only', { files, readsAll: true });
  try {
    const toStdout = options.image === '-';
    const sink = toStdout ? streamSink(process.stdout) : await fileSink(files, options.image);
    const sourceFormatVersion = families.familyOf(uris).formatVersion;
    const written = await withProgress('export', (progress) =>
      exportImage(instance, sink, { ...progress, sourceFormatVersion }),
    );
    const { digest, counts } = written;
    const value = { t: 'exported', digest: digest.root, imageBytes: written.imageBytes, ...counts };
    // Standard output is the image then.
    if (toStdout) return;
    print(options.output, value, () =>
      [
        `exported ${counts.entries} entries, ${counts.files} snapshot files`,
        `into ${options.image} (${bytesText(written.imageBytes)})`,
        `digest ${digest.root}`,
      ].join('\n'),
    );
  } finally {
    await instance.close();
  }
}

async function importCommand(
  short: string | undefined,
  options: Omit<ImageOptions, 'image'> & { readonly image?: string; readonly discard?: boolean },
): Promise<void> {
  const families = defaultFamilies();
  const uris = instanceUris(families, short, options);
  const target = { families, files, uris };
  requirePlace(target);
  await requireUnnamed({ ...target, stateDir: options.stateDir });
  if (options.discard === true) {
    const found = await discardImport(target);
    print(options.output, { t: 'discarded', instance: uris.log, found }, () =>
      found ? `discarded the import into ${uris.log}` : 'nothing to discard',
    );
    return;
  }
  const { image } = options;
  if (image === undefined) throw fail('usage.invalid', { reason: 'give --image, or --discard' });
  const begun = await beginImage(imageBytes(image));
  let imported: Awaited<ReturnType<typeof importImage>> | undefined;
  try {
    const done = await importOffline(target, async (staging) => {
      imported = await withProgress('import', (progress) => importImage(begun, staging, progress));
    });
    if (done === 'completed') await requireSameState(uris, begun);
  } finally {
    await begun.close();
  }
  const digest = imported?.digest.root ?? null;
  print(
    options.output,
    { t: 'imported', instance: uris.log, digest, ...imported?.counts },
    () =>
      `imported into ${uris.log}\n${digest === null ? 'an earlier import, completed and equal to this image' : `digest ${digest}`}`,
  );
}

/** @throws `usage.invalid` for an instance that would be gone with this command */
function requirePlace({ families, uris }: OfflineTarget): void {
  const family = families.familyOf(uris);
  if (family.places(uris).length > 0) return;
  throw fail('usage.invalid', {
    reason: `an import into "${uris.log}" keeps nothing: ${family.name} ends with its process`,
  });
}

/** What an earlier, interrupted import had published must be of this very image. */
async function requireSameState(uris: InstanceUris, image: ImageBytes): Promise<void> {
  const instance = await defaultFamilies().open(uris, 'read-only', { files, readsAll: true });
  try {
    const { compareWithImage } = await comparing();
    const comparison = await compareWithImage(instance, image);
    if (comparison.equal) return;
    const actual = `an earlier import of another image has been completed in ${uris.log}`;
    throw fail('image.resume-mismatch', { action: 'import', actual });
  } finally {
    await instance.close();
  }
}

function imageBytes(image: string): ImageBytes {
  return image === '-' ? streamBytes(process.stdin) : fileBytes(files, image);
}

interface VerifyOptions extends InstanceOptions, SideOptions {
  readonly image?: string;
  readonly proof?: string;
  readonly output: OutputFormat;
}

async function verifyCommand(
  first: string | undefined,
  second: string | undefined,
  options: VerifyOptions,
): Promise<void> {
  if (options.proof !== undefined) {
    const isAlone = first === undefined && options.image === undefined && !areWhole(options);
    const { verifyProof } = await import('./verify-proof.ts');
    if (isAlone) return verifyProof(options.proof, options.output);
    throw fail('usage.invalid', { reason: 'a proof names its instances: give --proof alone' });
  }
  const { one, other } = sides([first, second], options);
  if ((other === null) === (options.image === undefined)) {
    throw fail('usage.invalid', { reason: 'give a second instance, or --image' });
  }
  const { compareWithImage } = await comparing();
  const a = await openToCompare(one);
  try {
    const comparison = await withProgress('verify', (progress) =>
      other === null
        ? compareWithImage(a, imageBytes(options.image ?? '-'), progress)
        : compareWithOther(a, other, progress),
    );
    if (comparison.equal) {
      const { root } = comparison.a;
      const value = { t: 'verified', equal: true, digest: root };
      print(options.output, value, () => `equal\ndigest ${root}`);
      return;
    }
    const { report } = comparison;
    if (options.output !== 'text') print(options.output, { t: 'verified', ...report }, () => '');
    throw fail('state.different', { summary: report.summary });
  } finally {
    await a.close();
  }
}

/** The instances that are named; one that its separate URIs name whole takes no argument. */
function sides(
  [first, second]: readonly [string | undefined, string | undefined],
  options: VerifyOptions,
): { readonly one: InstanceUris; readonly other: InstanceUris | null } {
  const families = defaultFamilies();
  const others = sideOptions(options, 'other');
  const isMoved = areWhole(options) && second === undefined && !areWhole(others);
  const [short, otherShort] =
    isMoved && options.image === undefined ? [undefined, first] : [first, second];
  const one = instanceUris(families, short, options);
  const isNamed = otherShort !== undefined || Object.keys(others).length > 0;
  if (!isNamed) return { one, other: null };
  return { one, other: instanceUris(families, otherShort, { ...others, side: 'other' }) };
}

/** An import mostly does without. */
function comparing() {
  return import('../../storage/equivalence/compare.ts');
}

async function compareWithOther(a: Instance, other: InstanceUris, progress: TransferOptions) {
  const b = await openToCompare(other);
  try {
    const { compareInstances } = await comparing();
    return await compareInstances(a, b, progress);
  } finally {
    await b.close();
  }
}

function openToCompare(uris: InstanceUris): Promise<Instance> {
  return defaultFamilies().open(uris, 'read-only', { files, readsAll: true });
}
