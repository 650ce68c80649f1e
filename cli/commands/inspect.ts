/** `quorumshift inspect`: what an instance holds, read without changing it. */
import { createHash } from 'node:crypto';

import type { Command } from 'commander';

import { hasCode, QuorumshiftError } from '../../core/errors.ts';
import type { Instance, SnapshotReader } from '../../storage/contracts.ts';
import {
  EntryType,
  payloadAt,
  termAt,
  typeAt,
  type EntryBatch,
} from '../../storage/entry-batch.ts';
import { digestInstance } from '../../storage/equivalence/state-digest.ts';
import { configurationPeers, decodeFileMeta } from '../../storage/braft-payloads/configuration.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { addInstanceOptions, instanceUris, type InstanceOptions } from '../instance-options.ts';
import { outputOption, toJson, type OutputFormat } from '../output.ts';

interface InspectOptions extends InstanceOptions {
  readonly entries?: boolean;
  readonly output: OutputFormat;
}

/** braft's text of "no vote". */
const anyPeer = '0.0.0.0:0:0:0';

const typeNames = new Map<number, string>(
  Object.entries(EntryType).map(([name, number]) => [number, name]),
);

export function addInspect(program: Command): void {
  const command = program
    .command('inspect')
    .description('print what an instance holds; changes nothing')
    .argument('[instance]', 'short URI, such as local:///data/a')
    .option('--entries', 'every entry, with the SHA-256 of its payload')
    .addOption(outputOption())
    .addHelpText(
      'after',
      '\nExamples:\n  quorumshift inspect local:///data/a\n  quorumshift inspect sqlite:///data/c -o jsonl --entries',
    );
  addInstanceOptions(command).action(inspect);
}

async function inspect(short: string | undefined, options: InspectOptions): Promise<void> {
  const families = defaultFamilies();
  const uris = instanceUris(families, short, options);
  const instance = await families.open(uris, 'read-only', { files: nodeFileLayer });
  try {
    for await (const line of describeInstance(instance, options.entries ?? false)) {
      await write(options.output === 'text' ? textLine(line) : toJson(line));
    }
  } finally {
    await instance.close();
  }
}

type Line = Readonly<Record<string, unknown>>;

/** One object a line; the shape of `test/fixtures/braft/*.expected.jsonl`. */
async function* describeInstance(instance: Instance, entries: boolean): AsyncGenerator<Line> {
  const { firstIndex, lastIndex, meta } = instance.state();
  for (const text of new Set([...instance.warnings, ...instance.hazards])) {
    yield { t: 'warning', text };
  }
  yield { t: 'log', rc: 0, first: firstIndex, last: lastIndex, family: instance.family };
  const vote = meta.votedFor && Buffer.from(meta.votedFor).toString('utf8');
  yield { t: 'meta', rc: 0, term: meta.term, voted_for: vote ?? anyPeer, empty: vote === null };
  for (const [key, value] of meta.auxiliary) {
    yield { t: 'meta_auxiliary', key, len: value.length, sha256: sha256(value) };
  }
  if (entries) {
    for await (const batch of instance.read(firstIndex, lastIndex)) yield* entryLines(batch);
  }
  const snapshot = await latestOrFault(instance);
  if (snapshot instanceof QuorumshiftError) {
    // Without it there is no whole state, and so no digest.
    yield { t: 'snapshot', rc: -1, present: true, problem: snapshot.message };
    return;
  }
  if (snapshot === null) yield { t: 'snapshot', present: false };
  else {
    try {
      yield* snapshotLines(snapshot);
    } finally {
      await snapshot.close();
    }
  }
  const digest = await digestInstance(instance);
  yield { t: 'digest', root: digest.root, ...digest.parts };
}

/** Log and metadata are there to be seen beside a snapshot that a node could not load. */
async function latestOrFault(
  instance: Instance,
): Promise<SnapshotReader | QuorumshiftError | null> {
  try {
    return await instance.snapshots.latest();
  } catch (error) {
    if (hasCode(error, 'data.corrupt')) return error;
    throw error;
  }
}

function* entryLines(batch: EntryBatch): Generator<Line> {
  for (let i = 0; i < batch.count; i += 1) {
    const type = typeAt(batch, i);
    const payload = payloadAt(batch, i);
    yield {
      t: 'entry',
      index: batch.firstIndex + BigInt(i),
      term: termAt(batch, i),
      type: typeNames.get(type) ?? 'UNKNOWN',
      type_code: type,
      len: payload.length,
      sha256: sha256(payload),
      ...(type === EntryType.CONFIGURATION && peersOf(payload)),
    };
  }
}

/** The peers of a configuration; absent where the payload is no braft configuration. */
function peersOf(payload: Buffer): Line {
  const configuration = configurationPeers(payload);
  return configuration === null
    ? {}
    : { peers: configuration.peers, old_peers: configuration.oldPeers };
}

async function* snapshotLines(snapshot: SnapshotReader): AsyncGenerator<Line> {
  const { meta } = snapshot;
  yield {
    t: 'snapshot',
    rc: 0,
    present: true,
    last_included_index: meta.lastIncludedIndex,
    last_included_term: meta.lastIncludedTerm,
    peers: meta.peers,
    old_peers: meta.oldPeers,
  };
  for (const file of snapshot.files) {
    const hash = createHash('sha256');
    for await (const bytes of snapshot.read(file.path)) hash.update(bytes);
    const described = file.userMeta && decodeFileMeta(file.userMeta);
    yield {
      t: 'snapshot_file',
      name: file.path,
      exists: true,
      len: file.bytes,
      sha256: hash.digest('hex'),
      ...(described?.source !== undefined && { source: described.source }),
      ...(described?.checksum !== undefined && { checksum: described.checksum }),
      ...(described?.userMeta !== undefined && { user_meta: described.userMeta.toString('hex') }),
    };
  }
}

function textLine(line: Line): string {
  const { t, ...rest } = line;
  const fields = Object.entries(rest).filter(([key]) => key !== 'rc');
  return `${String(t).padEnd(14)}${fields.map(([key, value]) => `${key}=${field(value)}`).join(' ')}`;
}

function field(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'bigint' ? value.toString() : toJson(value);
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Waits while the reader of our output is slower than we are. */
async function write(line: string): Promise<void> {
  if (process.stdout.write(`${line}\n`)) return;
  await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
}
