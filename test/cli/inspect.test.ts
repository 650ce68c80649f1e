import { mkdtempSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import {
  expectedLines,
  fixtureNames,
  fixtureUris,
  treeFingerprint,
  unpackFixture,
} from '../local/braft-fixtures.ts';
import { jsonLines, runCli } from './run-cli.ts';

type Described = Record<string, unknown>;

/** Kinds of lines that are compared; the rest is about the files, and how braft changes them. */
const compared = ['log', 'meta', 'entry', 'snapshot', 'snapshot_file'];

describe('inspect of what real braft wrote', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'quorumshift-cli-'));
  });

  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test.each(fixtureNames)(
    '%s: says what braft reads, and changes nothing [FAM-9]',
    async (name) => {
      const place = join(directory, name);
      unpackFixture(name, place);
      const before = treeFingerprint(place);
      const { log, meta, snapshot, groupId = '' } = fixtureUris(name, place);
      const { code, stdout, stderr } = await runCli(
        [
          'inspect',
          '--log',
          log,
          '--meta',
          meta,
          '--snapshot',
          snapshot,
          '--group',
          groupId,
        ].concat([...['-o', 'jsonl', '--entries']]),
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);

      const said = jsonLines(stdout);
      expect(said.at(-1)).toMatchObject({
        t: 'digest',
        root: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
      const lines = inOrder(said);
      const wanted = inOrder(expectedLines(name));
      expect(lines.map((line, i) => sharedFields(line, wanted[i]))).toEqual(
        wanted.map((line, i) => sharedFields(line, lines[i])),
      );
      for (const line of lines) expect(line).toMatchObject(requiredFields(line));
      expect(treeFingerprint(place)).toEqual(before);
    },
  );
});

test('inspect of a snapshot that no node could load shows log and metadata, and names it [FAM-10]', async () => {
  const place = await mkdtemp(join(tmpdir(), 'quorumshift-inspect-'));
  try {
    unpackFixture('full-1', place);
    const snapshots = await readdir(join(place, 'snapshot'));
    const table = join(place, 'snapshot', snapshots[0] ?? '', '__raft_snapshot_meta');
    await writeFile(table, Buffer.from('00000001ff', 'hex'));
    const before = treeFingerprint(place);
    const args = ['inspect', `local://${place}`, '-o', 'jsonl'];
    const { code, stdout, stderr } = await runCli(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const said = jsonLines(stdout);
    expect(said.map(({ t }) => t)).toEqual(['warning', 'log', 'meta', 'snapshot']);
    expect(said[0]).toMatchObject({ text: expect.stringContaining('and does not start') });
    expect(said[3]).toMatchObject({ present: true, problem: expect.stringContaining(table) });
    const exported = await runCli(['export', `local://${place}`, '--image', '-', '-o', 'json']);
    expect(exported.code).toBe(5);
    expect(treeFingerprint(place)).toEqual(before);
  } finally {
    await rm(place, { recursive: true });
  }
});

/** Kind by kind; the files by name: braft lists them as they were added. */
function inOrder(lines: readonly Described[]): Described[] {
  const key = ({ t, name }: Described) => `${compared.indexOf(String(t))} ${String(name ?? '')}`;
  return lines
    .filter(({ t }) => compared.includes(String(t)))
    .toSorted((a, b) => (key(a) < key(b) ? -1 : Number(key(a) > key(b))));
}

/** Fields that both have: those of one name must be equal. */
function sharedFields(line: Described, other: Described | undefined) {
  return Object.fromEntries(
    Object.entries(line).filter(([key]) => other !== undefined && key in other),
  );
}

/** What a line of its kind must have, so that comparing what is shared compares something. */
function requiredFields({ t }: Described): Described {
  const given: unknown = expect.anything();
  if (t === 'log') return { first: given, last: given };
  if (t === 'meta') return { term: given, voted_for: given };
  if (t === 'entry') return { index: given, term: given, type: given, len: given, sha256: given };
  return t === 'snapshot_file' ? { name: given, len: given, sha256: given } : { present: given };
}
