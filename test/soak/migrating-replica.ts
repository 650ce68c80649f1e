/**
 * A replica that migrates again and again while things are killed, and is checked after each end.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

import { QuorumshiftError } from '../../core/errors.ts';
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { MigrationInput } from '../../schemas/migration.ts';
import { verifyJournal } from '../../storage/binding/journal.ts';
import { ownPaths } from '../../storage/binding/parking.ts';
import type { RecordStore } from '../../storage/binding/record-store.ts';
import { batchOf, EntryType } from '../../storage/entry-batch.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import type { MigrationEnvironment } from '../e2e/migration-environment.ts';

const families = ['rocksdb', 'sqlite', 'local'] as const;

/** A server that was killed is back within seconds, a killed agent's step is missed after 30 s. */
const patienceMs = 180_000;

const lookMs = 100;

export interface RunningMigration {
  readonly input: MigrationInput;
  readonly target: string;
  /** Root of the source's digest before. */
  readonly digest: string;
}

export class MigratingReplica {
  readonly environment: MigrationEnvironment;
  readonly replica: ReplicaName;
  #place: string;
  #count = 0;

  /** Its state is a directory that real braft wrote. */
  static async create(
    environment: MigrationEnvironment,
    member: string,
  ): Promise<MigratingReplica> {
    const place = await environment.unpack('node-killed', `${member}-0`);
    return new MigratingReplica({ environment, member, place });
  }

  private constructor(given: { environment: MigrationEnvironment; member: string; place: string }) {
    this.environment = given.environment;
    this.replica = { cluster: given.environment.replica.cluster, member: given.member };
    this.#place = given.place;
  }

  get name(): string {
    return replicaText(this.replica);
  }

  get store(): RecordStore {
    return this.environment.storeOf(this.replica);
  }

  /** Starts a migration to the next family, whether or not a server answers right now. */
  async begin(policy: Partial<MigrationInput['policy']> = {}): Promise<RunningMigration> {
    const { environment, replica } = this;
    this.#count += 1;
    const family = families[(this.#count - 1) % families.length] ?? 'local';
    const target = environment.uri(family, `${replica.member}-${this.#count}`);
    const id = `m${this.#count}`;
    const input = environment.input({ source: this.#place, target, id, policy, replica });
    const { root } = await environment.digest(this.#place);
    await throughOutages(() => environment.client.start(input));
    return { input, target, digest: root };
  }

  /** It runs on the target, until an operator decides. */
  async untilSoaking(): Promise<void> {
    await throughOutages(async () => {
      const { status } = await this.environment.client.status(this.replica);
      if (status?.waiting?.kind !== 'finalize') throw new Error('it does not soak yet');
    });
  }

  /** Appends to the target, as the replica does while it soaks: the digest to end with is new. */
  async writeOnTarget(running: RunningMigration): Promise<RunningMigration> {
    const families = defaultFamilies();
    const { target } = running.input;
    const instance = await families.open(target, 'read-write', { files: nodeFileLayer });
    try {
      const { lastIndex, meta } = instance.state();
      const entry = {
        index: lastIndex + 1n,
        term: meta.term,
        type: EntryType.DATA,
        payload: Buffer.from('written on the target'),
      };
      await instance.apply({ entries: { after: lastIndex, batches: [batchOf([entry])] } });
    } finally {
      await instance.close();
    }
    const { root } = await this.environment.digest(running.target);
    return { ...running, digest: root };
  }

  /** An operator goes back. */
  async rollBack(): Promise<void> {
    const operationId = randomUUID();
    const { client } = this.environment;
    await throughOutages(() => client.rollback(this.replica, 'test', { operationId }));
  }

  /** Waits until the record says that it ended, then checks what is on disk. */
  async end(running: RunningMigration, result: 'finalized' | 'rolled-back'): Promise<void> {
    await untilEnded(this.environment, this.replica, running.input.migrationId);
    const { client } = this.environment;
    const { outcome } = await throughOutages(() => client.result(this.replica));
    const record = await this.store.read();
    assert.equal(record?.lastEnded?.id, running.input.migrationId, this.name);
    assert.equal(record.lastEnded.result, result, this.name);
    assert.equal(outcome, result, this.name);
    const { source, target } = running.input;
    const [kept, left] = result === 'finalized' ? [target, source] : [source, target];
    assert.deepEqual(record.primary, { uris: kept, parkedTag: null }, this.name);
    for (const path of ownPaths(defaultFamilies(), left)) {
      assert.ok((await stat(path)).isFile(), `a fence stays at ${path}`);
      if (result === 'rolled-back') continue;
      const aside = `${path}.quorumshift-retired-${running.input.migrationId}`;
      assert.ok((await stat(aside)).isDirectory(), `the source lies aside at ${aside}`);
    }
    if (result === 'finalized') this.#place = running.target;
    const { root } = await this.environment.digest(this.#place);
    assert.equal(
      root,
      running.digest,
      `${this.name} has the same state after ${record.lastEnded.id}`,
    );
    await verifyJournal(nodeFileLayer, this.store.directory.journal);
  }
}

/** Repeats a call while no server answers; what the product refuses is thrown at once. */
export async function throughOutages<T>(call: () => Promise<T>): Promise<T> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (error instanceof QuorumshiftError || Date.now() > deadline) throw error;
      await delay(lookMs);
    }
  }
}

/** Fails at once when the migration waits for an operator, which no kill may bring about. */
export async function untilEnded(
  environment: MigrationEnvironment,
  replica: ReplicaName,
  migrationId: string,
): Promise<void> {
  const deadline = Date.now() + patienceMs;
  for (let looks = 1; ; looks++) {
    const record = await environment.storeOf(replica).read();
    if (record?.lastEnded?.id === migrationId) return;
    if (looks % 10 === 0) await requireNotStuck(environment, replica);
    if (Date.now() > deadline) {
      const phase = record?.migration?.phase ?? 'none';
      const name = replicaText(replica);
      throw new Error(`${name} has not ended within ${patienceMs} ms: phase ${phase}`);
    }
    await delay(lookMs);
  }
}

async function requireNotStuck(
  { client }: MigrationEnvironment,
  replica: ReplicaName,
): Promise<void> {
  const report = await client.status(replica).catch(() => null);
  const waiting = report?.status?.waiting;
  if (waiting?.kind === 'failed' || waiting?.kind === 'held' || report?.run === 'failed') {
    const reason = waiting?.reason ?? report?.failure ?? '';
    throw new Error(`${replicaText(replica)} ${report?.status?.phase ?? ''}: ${reason}`);
  }
}
