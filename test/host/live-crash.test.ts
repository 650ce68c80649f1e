import { describe, expect, test } from 'vitest';

import { ServedReplica, type ServedReplicaOptions } from '../../host/served-replica.ts';
import { RecordStore } from '../../storage/binding/record-store.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { FamilyRegistry } from '../../storage/family-registry.ts';
import { createLocalFamily } from '../../storage/families/local/family.ts';
import type { DurableState, Mutation } from '../../storage/contracts.ts';
import { batchOf, entryAt, type LogEntry } from '../../storage/entry-batch.ts';
import { entriesOf, voteA } from '../../storage/testing/conformance-env.ts';
import { CrashFileLayer } from '../../storage/testing/crash-file-layer.ts';
import { seededRandom } from '../../storage/testing/seeded-random.ts';
import { slowFiles } from '../replication/slow-files.ts';
import { everyCrash } from '../../storage/testing/every-crash.ts';

const families = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 400 })]);
const seed = Number(process.env['SEED'] ?? 20265);
const target = families.expand('local:///data/b');

function optionsOn(files: FileLayer): ServedReplicaOptions {
  return {
    files,
    families,
    stateDir: '/state',
    replica: { cluster: 'kv', member: 'n1' },
    uris: families.expand('local:///data/a'),
    create: true,
    policy: { onFailure: 'fail', limitMs: null },
    fullValidationEverySeconds: 86_400,
    by: 'test',
    log: () => {},
  };
}

/** What the client of a run was told, and what it waits for. */
interface Told {
  entries: LogEntry[];
  term: bigint;
  /** Every log that an append or replacement in flight may leave. */
  inFlight: LogEntry[][];
}

async function entriesOfReplica(served: ServedReplica, state: DurableState): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  for await (const batch of served.read(state.firstIndex, state.lastIndex)) {
    for (let i = 0; i < batch.count; i += 1) {
      const entry = entryAt(batch, i);
      entries.push({ ...entry, payload: Buffer.from(entry.payload) });
    }
  }
  return entries;
}

/** A replica with a client that appends and votes between the steps of its migration. */
class Client {
  readonly told: Told = { entries: [], term: 1n, inFlight: [] };
  readonly #served: ServedReplica;
  #epoch = 0n;

  constructor(served: ServedReplica) {
    this.#served = served;
  }

  async open(): Promise<void> {
    const { epoch, state } = await this.#served.open({ opener: '', resumes: 0n });
    this.#epoch = epoch;
    this.told.entries = await entriesOfReplica(this.#served, state);
    this.told.term = state.meta.term;
  }

  get last(): bigint {
    return BigInt(this.told.entries.length);
  }

  async append(count: bigint): Promise<void> {
    const after = this.last;
    const list = entriesOf(after + 1n, after + count, this.told.term);
    const entries = { after, batches: [batchOf(list)] };
    await this.#write(this.told.entries, list, { entries });
  }

  async vote(): Promise<void> {
    const term = this.told.term + 1n;
    await this.#served.apply(this.#epoch, { meta: { term, votedFor: voteA } });
    this.told.term = term;
  }

  /** The tail is replaced by entries of the present term. */
  async replace(count: bigint): Promise<void> {
    const lastKept = this.last - 2n;
    const list = entriesOf(lastKept + 1n, lastKept + count, this.told.term);
    const kept = this.told.entries.slice(0, -2);
    const entries = { after: lastKept, batches: [batchOf(list)] };
    await this.#write(kept, list, { truncate: { lastKept }, entries });
  }

  async #write(kept: LogEntry[], list: LogEntry[], mutation: Mutation): Promise<void> {
    const { told } = this;
    told.inFlight = [told.entries, kept, ...list.map((_, i) => [...kept, ...list.slice(0, i + 1)])];
    await this.#served.apply(this.#epoch, mutation);
    told.entries = [...kept, ...list];
    told.inFlight = [];
  }
}

interface Run {
  readonly client: Client;
  readonly served: ServedReplica;
}

async function started(files: CrashFileLayer): Promise<Run> {
  const served = await ServedReplica.start(optionsOn(files));
  const client = new Client(served);
  await client.open();
  await client.append(30n);
  await client.vote();
  return { served, client };
}

/** There and back and there, with writes between all steps. */
async function migrate({ served, client }: Run): Promise<void> {
  const { mirror } = served;
  await mirror.begin(target);
  await client.append(3n);
  await mirror.bootstrap();
  await client.append(3n);
  await client.vote();
  await mirror.prove();
  await client.append(2n);
  await client.replace(3n);
  await mirror.cutOver();
  await client.append(2n);
  await mirror.prove();
  await mirror.cutOver();
  await client.vote();
  await mirror.prove();
  await mirror.cutOver();
  await client.append(1n);
  await mirror.finalize({ deletes: false });
  await client.append(1n);
}

describe('a mirror', () => {
  test('that does not open elsewhere is refused, also while the primary is still read: the host goes on [EQ-2]', async () => {
    const files = slowFiles(new CrashFileLayer(1), seededRandom(1), { reads: true });
    const digestElsewhere = () => Promise.reject(new Error('it does not open'));
    const served = await ServedReplica.start({ ...optionsOn(files), digestElsewhere });
    const client = new Client(served);
    await client.open();
    await client.append(30n);
    await served.mirror.begin(target);
    await expect(served.mirror.bootstrap()).rejects.toThrow('it does not open');
    await client.append(1n);
    await served.close();
  });
});

describe('a proof', () => {
  test('is void once the store was opened again after a failure: a cutover asks for a new one [EQ-5] [I9]', async () => {
    const files = new CrashFileLayer(1);
    const { served, client } = await started(files);
    await served.mirror.begin(target);
    await served.mirror.bootstrap();
    await served.mirror.prove();
    files.failAt({ operation: 'sync', code: 'EIO', nth: 1 });
    await expect(client.append(1n)).rejects.toThrow('EIO');
    await client.open();
    await client.replace(2n);
    await expect(served.mirror.cutOver()).rejects.toMatchObject({ code: 'proof.stale' });
    await served.mirror.prove();
    await served.mirror.cutOver();
    await served.close();
  });
});

describe('a cutover long after its proof', () => {
  test('what was appended since is compared beside the writers, however much it is [EQ-5] [CUT-1]', async () => {
    const large = new FamilyRegistry([createLocalFamily({ maxSegmentBytes: 8 * 1024 * 1024 })]);
    const options = { ...optionsOn(new CrashFileLayer(1)), families: large };
    const served = await ServedReplica.start(options);
    await served.mirror.begin(target);
    await served.mirror.bootstrap();
    const { epoch } = await served.open({ opener: '', resumes: 0n });
    await served.mirror.prove();
    const payload = Buffer.alloc(64 * 1024, 'x');
    for (let index = 1n; index <= 40n; index += 1n) {
      const entries = {
        after: index - 1n,
        batches: [batchOf([{ index, term: 1n, type: 2, payload }])],
      };
      await served.apply(epoch, { entries });
    }
    const most = 1024 * 1024;
    expect(40 * payload.length).toBeGreaterThan(2 * most);
    await served.mirror.cutOver();
    expect(served.mirror.sides.primary.uris).toEqual(target);
    expect(served.mirror.sides.primary.state().lastIndex).toBe(40n);
    await served.close();
  });
});

describe(`a live migration stopped at every operation (SEED=${seed})`, () => {
  test('the replica opens with all that was acknowledged, on what its record names; the migration goes on to its end [I1] [I4] [I8] [I11] [CUT-1] [CUT-2] [CUT-4] [DUAL-3]', async () => {
    const operations = await everyCrash({
      seed,
      prepare: started,
      run: (_files, run) => migrate(run),
      check: async (survivor, { ended, context: { client } }) => {
        const served = await ServedReplica.start(optionsOn(survivor));
        const { state } = await served.open({ opener: '', resumes: 0n });
        const found = await entriesOfReplica(served, state);
        const { inFlight, entries } = client.told;
        expect(inFlight.length === 0 ? [entries] : inFlight).toContainEqual(found);
        expect(state.meta.term).toBeGreaterThanOrEqual(client.told.term);
        const again = new Client(served);
        await again.open();
        await again.append(1n);
        const replica = { cluster: 'kv', member: 'n1' };
        const store = new RecordStore({
          files: survivor,
          stateDir: '/state',
          replica,
          now: () => new Date(),
        });
        const record = await store.read();
        const isOnTarget = record?.primary.uris.log === target.log;
        if (ended) expect([isOnTarget, record?.mirror]).toEqual([true, null]);
        if (record?.mirror) {
          await served.mirror.bootstrap();
          await served.mirror.prove();
          await again.append(1n);
          await served.mirror.cutOver();
          const swapped = await store.read();
          expect(swapped?.primary.uris.log === target.log).toBe(!isOnTarget);
        }
        await again.append(1n);
        await served.close();
      },
    });
    expect(operations).toBeGreaterThan(100);
  }, 600_000);
});

describe(`a copy that was overtaken and is made anew, stopped at every operation (SEED=${seed})`, () => {
  test('it is made anew again: nothing that was half discarded is in its way [DUAL-3] [BOOT-4] [OPS-1]', async () => {
    const operations = await everyCrash({
      seed,
      prepare: async (files) => {
        const run = await started(files);
        await run.served.mirror.begin(target);
        // The removal of the mark that says that it is a copy: all of it has been written.
        files.failAt({ operation: 'remove', code: 'EIO', nth: 1 });
        await expect(run.served.mirror.bootstrap()).rejects.toThrow('EIO');
        await run.client.replace(3n);
        return run;
      },
      run: (_files, { served }) => served.mirror.bootstrap(),
      check: async (survivor) => {
        const served = await ServedReplica.start(optionsOn(survivor));
        await served.mirror.bootstrap();
        await served.mirror.prove();
        await served.close();
      },
    });
    expect(operations).toBeGreaterThan(20);
  });
});
