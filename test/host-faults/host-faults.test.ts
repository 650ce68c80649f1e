import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

import { credentials, status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import type { HostConfig } from '../../schemas/host-config.ts';
import { openReplica } from '../host/host-session.ts';
import { missing } from '../setup/toolchain.ts';
import type { ReplicaCommand } from '../soak/replica-operator.ts';
import { FaultyHost, type DiskFault } from './faulty-host.ts';

/** RocksDB under a full disk may take 30 s to be closed. */
vi.setConfig({ testTimeout: 180_000 });

let running: FaultyHost | null = null;

afterEach(async () => {
  await running?.stop();
  await running?.remove();
  running = null;
});

async function started(family: string, settings: Partial<HostConfig> = {}): Promise<FaultyHost> {
  const host = await FaultyHost.start(family, settings);
  running = host;
  for (const writer of host.writers) await writer.wrote(3n);
  return host;
}

/** Runs it until it is done: a cut that is overtaken is taken again. */
async function operate(host: FaultyHost, command: ReplicaCommand, uri?: string): Promise<void> {
  for (;;) {
    const { code, stderr } = await host.operator.run(command, uri);
    if (code === 0) return;
    expect(stderr).toContain('image.source-changed');
  }
}

interface Sides {
  readonly primary: string;
  readonly mirror: string;
}

/** n1 in dual write with a mirror of this family. */
async function paired(
  primary: string,
  mirror: string,
  settings: Partial<HostConfig> = {},
): Promise<{ host: FaultyHost; sides: Sides }> {
  const host = await started(primary, settings);
  const { directory } = host.place;
  const sides = { primary: join(directory, 'n1'), mirror: join(directory, 'mirror') };
  await operate(host, 'mirror', `${mirror}://${sides.mirror}`);
  return { host, sides };
}

const faults = [
  { kind: 'write', code: 'ENOSPC' },
  { kind: 'sync', code: 'EIO' },
  { kind: 'change', code: 'EROFS' },
] as const satisfies readonly Omit<DiskFault, 'directory'>[];

const families = ['local', 'rocksdb', 'sqlite'] as const;

describe.skipIf(missing('cc'))('no room, an EIO of fsync, a read-only file system', () => {
  test.each(families)(
    'under %s: its client is told, the other replica goes on; afterwards it goes on with all that was acknowledged [LOG-8] [I1] [I15]',
    async (family) => {
      const host = await started(family);
      const [faulty, other] = host.writers;
      for (const fault of faults) {
        await host.fault({ ...fault, directory: join(host.place.directory, 'n1') });
        expect(await faulty.refused()).toMatchObject({ code: 'io.failed' });
        await other.wrote(5n);
        await host.fault();
        await faulty.wrote(5n);
      }
      expect(other.refusals).toEqual([]);
      await host.checkAll();
    },
  );

  test.each(families)(
    'under a mirror on %s: it is left, and no client notices; a new mirror can be made [DUAL-2] [DUAL-8] [I3]',
    async (family) => {
      const host = await started('local');
      const [faulty] = host.writers;
      const directory = join(host.place.directory, 'mirror');
      for (const fault of faults) {
        await operate(host, 'mirror', `${family}://${directory}`);
        await host.fault({ ...fault, directory });
        await faulty.wrote(5n);
        const { mirror, former } = (await host.operator.show()) ?? {};
        expect([mirror, former?.why]).toEqual([undefined, expect.stringContaining(directory)]);
        await host.fault();
        await operate(host, 'drop');
      }
      expect(host.log.match(/kv\/n1 goes on without its mirror/g)).toHaveLength(faults.length);
      for (const { refusals } of host.writers) expect(refusals).toEqual([]);
      await host.checkAll();
    },
  );

  test.each(families)(
    'under a primary on %s in dual write: its client is told; afterwards both sides are equal, and the primary is the same [DUAL-4] [I1] [I8]',
    async (family) => {
      const { host, sides } = await paired(family, family === 'local' ? 'sqlite' : 'local');
      const [faulty, other] = host.writers;
      for (const fault of faults) {
        await host.fault({ ...fault, directory: sides.primary });
        expect(await faulty.refused()).toMatchObject({ code: 'io.failed' });
        await other.wrote(5n);
        await host.fault();
        await faulty.wrote(5n);
        await operate(host, 'prove');
      }
      const status = await host.operator.show();
      expect(status?.primary?.logUri).toContain(sides.primary);
      expect(status?.stage).toBe('dual');
      await host.checkAll();
    },
  );
});

describe.skipIf(missing('cc'))('a mirror', () => {
  test('that is slow is left after its limit; the other replica does not wait [DUAL-8]', async () => {
    const { host, sides } = await paired('rocksdb', 'local', { mirrorLimitMs: 200 });
    const [faulty, other] = host.writers;
    await host.fault({ kind: 'sync', delayMs: 3_000, directory: sides.mirror });
    await other.wrote(5n);
    await faulty.wrote(5n);
    expect(host.log).toContain('it took more than 200 ms longer than the primary');
    await host.fault();
    expect(faulty.refusals).toEqual([]);
    await host.checkAll();
  });

  test.each(families)(
    'on %s whose directory is gone: the replica is served without it, after a kill at the latest [DUAL-8] [I3]',
    async (family) => {
      const { host, sides } = await paired('local', family);
      await rm(sides.mirror, { recursive: true });
      const [faulty, other] = host.writers;
      await faulty.wrote(5n);
      await host.restart();
      await Promise.all([faulty.wrote(5n), other.wrote(5n)]);
      expect(await host.operator.show()).toMatchObject({ refusal: '', mirror: undefined });
      await host.checkAll();
    },
  );
});

describe.skipIf(missing('cc'))('a primary in dual write', () => {
  test('whose directory is gone at a start: the replica is refused alone, by name, and its mirror kept [CUT-7] [I8]', async () => {
    const { host, sides } = await paired('local', 'sqlite');
    const [faulty, other] = host.writers;
    await rename(sides.primary, `${sides.primary}-elsewhere`);
    await host.restart();
    await other.wrote(5n);
    expect(host.log).toContain('kv/n1 is not served');
    expect((await faulty.refused()).code).toBe('instance.missing');
    await rename(`${sides.primary}-elsewhere`, sides.primary);
    await host.restart();
    await faulty.wrote(5n);
    await operate(host, 'prove');
    await host.checkAll();
  });
});

describe.skipIf(missing('cc'))('the directory of the records fails', () => {
  test.each(['EIO', 'ENOSPC'] as const)(
    'in a cutover, by %s: one primary is named, nothing is lost though the mirror is left next [CUT-2] [I1] [I8]',
    async (code) => {
      const { host, sides } = await paired('local', 'sqlite');
      const [faulty] = host.writers;
      await operate(host, 'prove');
      const directory = join(host.place.directory, 'state/replicas/kv/n1');
      await host.fault({ kind: code === 'EIO' ? 'sync' : 'write', code, directory });
      const failed = await host.operator.run('cutover');
      expect(failed.stderr).toContain('io.failed');
      await host.fault();
      await faulty.wrote(5n);
      const { primary } = (await host.operator.show()) ?? {};
      const isOnMirror = primary?.logUri.includes(sides.mirror) === true;
      const second = isOnMirror ? sides.primary : sides.mirror;
      await host.fault({ kind: 'write', code: 'EIO', directory: second });
      await faulty.wrote(5n);
      await host.fault();
      expect(host.log).toContain('kv/n1 goes on without its mirror');
      await host.checkAll();
    },
  );
});

describe.skipIf(missing('cc'))('around the host', () => {
  test('its socket is gone: sessions go on; who comes anew is told, until it is started again', async () => {
    const host = await started('local');
    const [writer] = host.writers;
    await rm(host.place.socket);
    const late = new StorageHostClient(
      `unix:${host.place.socket}`,
      credentials.createInsecure(),
      // Else it would take the connection that another client has.
      { 'grpc.use_local_subchannel_pool': 1 },
    );
    await expect(openReplica(late, 'n2')).rejects.toMatchObject({ code: status.UNAVAILABLE });
    late.close();
    await writer.wrote(5n);
    expect(writer.refusals).toEqual([]);
    await host.restart();
    await writer.wrote(5n);
    await host.checkAll();
  });

  test('the wall clock jumps by years, back and forth, in every step of a migration: nothing fails [I1] [I9]', async () => {
    const host = await started('local');
    const yearMs = 365 * 86_400_000;
    const steps: readonly [ReplicaCommand, string?][] = [
      ['mirror', `sqlite://${host.place.directory}/mirror`],
      ['prove'],
      ['cutover'],
      ['prove'],
      ['cutover'],
      ['drop'],
    ];
    for (const [i, [command, uri]] of steps.entries()) {
      await host.setClock(i % 2 === 0 ? -10 * yearMs : 10 * yearMs);
      await operate(host, command, uri);
      for (const writer of host.writers) await writer.wrote(2n);
    }
    for (const { refusals } of host.writers) expect(refusals).toEqual([]);
    const journal = join(host.place.directory, 'state/replicas/kv/n1/journal.jsonl');
    const years = (await readFile(journal, 'utf8')).match(/"at":"\d{4}/g);
    expect(new Set(years).size).toBeGreaterThan(1);
    await host.checkAll();
  });
});
