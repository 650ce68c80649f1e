/** The directories that real braft wrote, with what real braft reads from each. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import type { Instance, InstanceUris } from '../../storage/contracts.ts';
import { entryAt } from '../../storage/entry-batch.ts';
import { configurationPeers, decodeFileMeta } from '../../storage/braft-payloads/configuration.ts';

const fixtureDirectory = join(import.meta.dirname, '../../../test/fixtures/braft');

export const fixtureNames = readdirSync(fixtureDirectory)
  .filter((name) => name.endsWith('.tar.gz'))
  .map((name) => name.replace('.tar.gz', ''));

/** Unpacks the fixture into `directory`. */
export function unpackFixture(name: string, directory: string): void {
  mkdirSync(directory, { recursive: true });
  execFileSync('tar', ['xzf', join(fixtureDirectory, `${name}.tar.gz`), '-C', directory]);
}

export type Line = { readonly t: string } & Readonly<Record<string, unknown>>;

export function expectedLines(name: string): Line[] {
  const text = readFileSync(join(fixtureDirectory, `${name}.expected.jsonl`), 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const parsed: Line = JSON.parse(line);
      return parsed;
    });
}

/** The fixture's URIs, as its name says where the metadata lies. */
export function fixtureUris(name: string, directory: string): InstanceUris {
  const meta = {
    'merged-1': `local-merged://${directory}/merged_meta`,
    'mixed-meta-1': `local-mixed://merged_path=${directory}/merged_meta&&single_path=${directory}/raft_meta`,
  }[name];
  return {
    log: `local://${directory}/log`,
    meta: meta ?? `local://${directory}/raft_meta`,
    snapshot: `local://${directory}/snapshot`,
    groupId: 'group_0',
  };
}

/** Every path below `directory` with size, times and content: equal only if nothing was touched. */
export function treeFingerprint(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .concat(directory)
    .toSorted()
    .map((path) => {
      const { size, mtimeMs, ctimeMs, ino } = lstatSync(path);
      const content = lstatSync(path).isFile() ? sha256(readFileSync(path)) : '';
      return [path, size, mtimeMs, ctimeMs, ino, content].join(' ');
    });
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const typeNames = new Map([
  [1, 'NO_OP'],
  [2, 'DATA'],
  [3, 'CONFIGURATION'],
]);

/** What the instance reads, as the lines of an expected file; what these leave out is left out. */
export async function linesOf(instance: Instance): Promise<Line[]> {
  const { firstIndex, lastIndex, meta } = instance.state();
  const lines: Line[] = [{ t: 'log', first: `${firstIndex}`, last: `${lastIndex}` }];
  for await (const batch of instance.read(firstIndex, lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) lines.push(entryLine(entryAt(batch, i)));
  }
  const votedFor = meta.votedFor && Buffer.from(meta.votedFor).toString();
  lines.push({ t: 'meta', term: `${meta.term}`, voted_for: votedFor ?? '0.0.0.0:0:0:0' });
  return [...lines, ...(await snapshotLines(instance))];
}

function entryLine(entry: ReturnType<typeof entryAt>): Line {
  const { index, term, type, payload } = entry;
  const line = {
    t: 'entry',
    index: `${index}`,
    term: `${term}`,
    type: typeNames.get(type) ?? 'UNKNOWN',
    type_code: type,
    len: payload.length,
    sha256: sha256(payload),
  };
  const peers = type === 3 ? configurationPeers(payload) : null;
  if (peers === null) return line;
  return { ...line, peers: peers.peers, old_peers: peers.oldPeers };
}

async function snapshotLines(instance: Instance): Promise<Line[]> {
  const reader = await instance.snapshots.latest();
  if (reader === null) return [{ t: 'snapshot', present: false }];
  const { meta } = reader;
  const lines: Line[] = [
    {
      t: 'snapshot',
      last_included_index: `${meta.lastIncludedIndex}`,
      last_included_term: `${meta.lastIncludedTerm}`,
      peers: meta.peers,
      old_peers: meta.oldPeers,
    },
  ];
  for (const file of reader.files) {
    const pieces: Buffer[] = [];
    for await (const piece of reader.read(file.path)) pieces.push(piece);
    const bytes = Buffer.concat(pieces);
    const described = decodeFileMeta(file.userMeta ?? Buffer.alloc(0));
    lines.push({
      t: 'snapshot_file',
      name: file.path,
      len: bytes.length,
      sha256: sha256(bytes),
      ...(described?.source !== undefined && { source: described.source }),
      ...(described?.checksum !== undefined && { checksum: described.checksum }),
      ...(described?.userMeta && { user_meta: described.userMeta.toString('hex') }),
    });
  }
  await reader.close();
  return lines;
}
