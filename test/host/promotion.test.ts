import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { BindingRecord } from '../../schemas/binding-record.ts';
import { entriesOf } from '../../storage/testing/conformance-env.ts';
import { runCli } from '../cli/run-cli.ts';
import { makeHostPlace, type HostPlace, type HostProcess } from './host-process.ts';
import { replica, started } from './hosts-of-a-test.ts';
import { appendMessage, codeOf, openReplica, readEntries, WriteStream } from './host-session.ts';

const mirrorOf = (place: HostPlace) => `rocksdb://${place.directory}/b`;
const stateOfReplica = (place: HostPlace) => `${place.directory}/state/replicas/kv/n1`;
const promoteCommand = 'quorumshift replica promote kv/n1 --reason "…"';

async function recordOf(place: HostPlace): Promise<BindingRecord> {
  const text = await readFile(`${stateOfReplica(place)}/binding.json`, 'utf8');
  return JSON.parse(text) as BindingRecord;
}

async function lastJournalLine(place: HostPlace): Promise<Record<string, unknown>> {
  const text = await readFile(`${stateOfReplica(place)}/journal.jsonl`, 'utf8');
  return JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as Record<string, unknown>;
}

/** Appends `after + 1..last`, each acknowledged. */
async function append({ client }: HostProcess, after: bigint, last: bigint): Promise<void> {
  const { epoch } = await openReplica(client, 'n1');
  const stream = new WriteStream(client, 'n1', epoch);
  for (let index = after + 1n; index <= last; index += 1n) {
    await stream.until(stream.send(appendMessage(index - 1n, entriesOf(index, index))));
  }
  expect(await stream.end()).toBeNull();
}

async function entriesUpTo({ client }: HostProcess, last: bigint) {
  return readEntries(client, 'n1', { first: 1n, last });
}

/** A digest of every file below a directory, with its name. */
async function digestOf(directory: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  for (const path of files.map((file) => join(file.parentPath, file.name)).toSorted()) {
    hash.update(path).update(await readFile(path));
  }
  return hash.digest('hex');
}

/** Dual write from local to rocksdb, with 30 entries acknowledged; the host as it runs. */
async function inDualWrite(place: HostPlace): Promise<HostProcess> {
  const host = await started(place);
  await append(host, 0n, 10n);
  expect((await replica(place, 'mirror', 'kv/n1', mirrorOf(place))).code).toBe(0);
  await append(host, 10n, 30n);
  return host;
}

describe('a primary that is gone', () => {
  test('the host refuses the replica and offers the command; promoted, all that was acknowledged is served, and the old primary never is again [DUAL-5] [CUT-2] [CUT-5] [I18] [I19]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const before = `${place.directory}/record-before`;
    const host = await inDualWrite(place);
    await host.end('SIGKILL');
    await cp(stateOfReplica(place), before, { recursive: true });
    const [primary, away] = [`${place.directory}/n1`, `${place.directory}/away`];
    await rename(primary, away);

    const refusing = await started(place);
    expect(refusing.lines.join('\n')).toContain(promoteCommand);
    const shown = (await replica(place, 'show', 'kv/n1')).answer;
    expect(shown['next']).toEqual([promoteCommand]);
    expect(shown['situation']).toContain(`${primary}/log cannot be used as it is`);
    await expect(openReplica(refusing.client, 'n1').catch(codeOf)).resolves.toBe(
      'instance.missing',
    );

    const promoted = await replica(place, 'promote', 'kv/n1', '--reason', 'its disk is gone');
    expect(promoted.answer['primaryLogUri']).toBe(mirrorOf(place));
    expect(await entriesUpTo(refusing, 30n)).toEqual(entriesOf(1n, 30n));
    await append(refusing, 30n, 32n);
    expect(await recordOf(place)).toMatchObject({
      primary: { uris: { log: mirrorOf(place) } },
      mirror: null,
      former: { ref: { uris: { log: `local://${primary}/log` } }, next: 'keep' },
    });
    const line = await lastJournalLine(place);
    expect([line['event'], line['reason']]).toEqual(['promote', 'its disk is gone']);
    expect((await replica(place, 'show', 'kv/n1')).answer['alarms']).toEqual([
      expect.stringContaining('primary lost'),
    ]);

    // The old primary comes back: nobody looks at it, whatever became of the record.
    await rename(away, primary);
    const untouched = await digestOf(primary);
    await refusing.end('SIGKILL');
    const again = await started(place);
    expect(await entriesUpTo(again, 32n)).toEqual(entriesOf(1n, 32n));
    await again.end('SIGTERM');
    await rename(stateOfReplica(place), `${place.directory}/record-after`);
    for (const record of [null, before]) {
      if (record !== null) {
        await rm(stateOfReplica(place), { recursive: true, force: true });
        await cp(record, stateOfReplica(place), { recursive: true });
      }
      const fooled = await started(place);
      const code = await openReplica(fooled.client, 'n1').catch(codeOf);
      expect(code).toBe('record.stamp-newer');
      await fooled.end('SIGTERM');
    }
    expect(await digestOf(primary)).toBe(untouched);
  }, 120_000);
});

test('a primary that fails while it is served, and cannot be opened again: refused, then promoted [DUAL-5] [CUT-5] [LOG-8]', async () => {
  const place = await makeHostPlace({ n1: 'local' });
  const host = await inDualWrite(place);
  const { epoch } = await openReplica(host.client, 'n1');
  const stream = new WriteStream(host.client, 'n1', epoch);
  // A directory where a file is to be written; then all of it is gone.
  const primary = `${place.directory}/n1`;
  await mkdir(`${primary}/raft_meta/quorumshift_meta.tmp`, { recursive: true });
  const setAuxiliary = new Map([['commit', Buffer.from('30')]]);
  const metadata = { term: 9n, setAuxiliary, removeAuxiliary: [] };
  stream.send({ truncate: undefined, entries: undefined, metadata });
  expect(codeOf(await stream.ended)).toBe('io.failed');
  await rename(primary, `${place.directory}/away`);
  await expect(openReplica(host.client, 'n1').catch(codeOf)).resolves.toBe('instance.missing');
  expect((await replica(place, 'show', 'kv/n1')).answer['next']).toEqual([promoteCommand]);
  const reason = ['--reason', 'its disk fails'];
  expect((await replica(place, 'promote', 'kv/n1', ...reason)).code).toBe(0);
  expect(await entriesUpTo(host, 30n)).toEqual(entriesOf(1n, 30n));
  await append(host, 30n, 31n);
});

describe('a promotion is refused, and nothing changes', () => {
  test('of a replica that is served, and of one whose mirror was not in dual write to the last [DUAL-8] [I3]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await inDualWrite(place);
    const args = ['promote', 'kv/n1', '--reason', 'why not'];
    const served = await replica(place, ...args);
    expect([served.code, served.stderr]).toEqual([3, expect.stringContaining('it is served')]);
    await host.end('SIGTERM');
    // The mirror is away for a moment: it is left, and comes back stale.
    await rename(`${place.directory}/b`, `${place.directory}/b-away`);
    const alone = await started(place);
    await append(alone, 30n, 31n);
    await alone.end('SIGTERM');
    await rename(`${place.directory}/b-away`, `${place.directory}/b`);
    await rename(`${place.directory}/n1`, `${place.directory}/away`);
    const refusing = await started(place);
    expect((await replica(place, 'show', 'kv/n1')).answer['next']).toEqual([]);
    const before = await recordOf(place);
    expect((await replica(place, ...args)).stderr).toContain('it has no mirror');
    expect(await recordOf(place)).toEqual(before);
    await refusing.end('SIGTERM');
  }, 120_000);

  test('of a side that lies below the watermark, or that was left before and put back [DUAL-5] [CUT-2]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await started(place);
    await append(host, 0n, 10n);
    expect((await replica(place, 'mirror', 'kv/n1', mirrorOf(place))).code).toBe(0);
    await host.end('SIGTERM');
    const [mirror, early] = [`${place.directory}/b`, `${place.directory}/b-early`];
    await cp(mirror, early, { recursive: true });
    const later = await started(place);
    await append(later, 10n, 30n);
    // Its end makes the watermark follow.
    await later.end('SIGTERM');
    await rename(`${place.directory}/n1`, `${place.directory}/away`);
    await rename(mirror, `${place.directory}/b-now`);
    await cp(early, mirror, { recursive: true });
    const refusing = await started(place);
    const args = ['promote', 'kv/n1', '--reason', 'its disk is gone'];
    expect((await replica(place, ...args)).stderr).toContain('pair.below-watermark');
    await rm(`${mirror}/quorumshift-generation.json`);
    expect((await replica(place, ...args)).stderr).toContain('its stamp must be kv/n1');
    await rm(mirror, { recursive: true });
    await rename(`${place.directory}/b-now`, mirror);
    expect((await replica(place, ...args)).code).toBe(0);
    expect(await entriesUpTo(refusing, 30n)).toEqual(entriesOf(1n, 30n));
  }, 120_000);
});

describe('a mirror that is not what it was', () => {
  test('below the watermark: the primary is offered, and goes on alone; the mirror is deleted by drop [DUAL-5] [DUAL-8]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await started(place);
    expect((await replica(place, 'mirror', 'kv/n1', mirrorOf(place))).code).toBe(0);
    await host.end('SIGTERM');
    const [mirror, early] = [`${place.directory}/b`, `${place.directory}/b-early`];
    await cp(mirror, early, { recursive: true });
    const later = await started(place);
    await append(later, 0n, 20n);
    await later.end('SIGTERM');
    await rm(mirror, { recursive: true });
    await rename(early, mirror);
    const refusing = await started(place);
    const shown = (await replica(place, 'show', 'kv/n1')).answer;
    expect(shown['next']).toEqual([`${promoteCommand} --side primary`]);
    const args = ['--reason', 'a backup was put there', '--side', 'primary'];
    expect((await replica(place, 'promote', 'kv/n1', ...args)).code).toBe(0);
    expect(await entriesUpTo(refusing, 20n)).toEqual(entriesOf(1n, 20n));
    const left = (await replica(place, 'show', 'kv/n1')).answer;
    expect(left['alarms']).toEqual([]);
    expect(left['next']).toEqual([
      'quorumshift replica drop kv/n1',
      'quorumshift replica mirror kv/n1 <uri>',
    ]);
    expect((await replica(place, 'drop', 'kv/n1')).code).toBe(0);
    expect((await readdir(place.directory)).includes('b')).toBe(false);
  }, 120_000);

  test('lost after a cutover: alarmed as rollback target lost, in list, show, record and journal, until it is dropped [DUAL-8] [CUT-4]', async () => {
    const place = await makeHostPlace({ n1: 'local' });
    const host = await inDualWrite(place);
    for (const step of ['prove', 'cutover']) {
      expect((await replica(place, step, 'kv/n1')).code).toBe(0);
    }
    const reversed = (await replica(place, 'show', 'kv/n1')).answer;
    expect(reversed['situation']).toContain('the way back');
    await host.end('SIGKILL');
    await rename(`${place.directory}/n1`, `${place.directory}/away`);
    const alone = await started(place);
    expect(alone.lines.join('\n')).toContain('alarm: rollback target lost');
    expect((await lastJournalLine(place))['event']).toBe('rollback-target-lost');
    await alone.end('SIGKILL');
    await started(place);
    const listed = await runCli(['replica', 'list', '--socket', place.adminSocket]);
    expect(listed.stdout.toString('utf8')).toContain('ALARM  kv/n1: rollback target lost');
    expect((await replica(place, 'show', 'kv/n1')).answer['alarms']).toHaveLength(1);
    expect((await recordOf(place)).former?.alarm).toBe('rollback target lost');
    expect((await replica(place, 'drop', 'kv/n1')).code).toBe(0);
    expect((await replica(place, 'show', 'kv/n1')).answer['alarms']).toEqual([]);
  }, 120_000);
});
