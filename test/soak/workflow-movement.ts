/** Moved by workflows, whose agents, control worker and server are killed. */
import { strictEqual } from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { seededRandom, type SeededRandom } from '../../storage/testing/seeded-random.ts';
import type { MigrationEnvironment } from '../e2e/migration-environment.ts';
import { KillableFleet, type Victim as FleetVictim } from './killable-fleet.ts';
import { viewOf, type ReplicaView } from './live-replica.ts';
import { throughOutages, untilEnded } from './migrating-replica.ts';
import type { MovedReplica, Movement, MovementOptions } from './movement.ts';
import { CallingOperator } from './replica-operator.ts';

const families = ['rocksdb', 'sqlite', 'local'] as const;

/** One migration of this many is rolled back by an operator while it soaks. */
const rollbackOneIn = 4;

/** Until a host that was killed is asked again. */
const retryMs = 100;

/** @param bin Temporal's server */
export async function moveByWorkflows(bin: string, options: MovementOptions): Promise<Movement> {
  const { cluster, nodes, seed, log } = options;
  const fleet = await KillableFleet.start({
    bin,
    machines: nodes.map((member) => ({
      replica: { cluster: 'kv', member },
      data: cluster.directory(member),
      stateDir: join(cluster.directory(member), 'state'),
      adminSocket: join(cluster.directory(member), 'host-admin.sock'),
    })),
  });
  const kill = async (victim: FleetVictim): Promise<boolean> => {
    await fleet.kill(victim);
    await fleet.restart(victim);
    return true;
  };
  const shared = ['server', 'control'] as const;
  return {
    replicas: fleet.machines.map((machine, i) => {
      return new WorkflowReplica(machine, { firstFamily: i, random: seededRandom(seed + i), log });
    }),
    victims: [
      ...shared.map((kind) => ({ kind, name: kind, kill: () => kill(kind) })),
      ...fleet.machines.map((machine) => {
        const name = `${machine.replica.member} agent`;
        return { kind: 'agent', name, kill: () => kill(machine) };
      }),
    ],
    close: () => fleet.close(),
  };
}

interface WorkflowReplicaOptions {
  /** It moves to the families in turn, this one first. */
  readonly firstFamily: number;
  readonly random: SeededRandom;
  readonly log: (line: string) => void;
}

class WorkflowReplica implements MovedReplica {
  readonly name: string;
  readonly ended = { finalized: 0, rolledBack: 0, detached: 0 };
  readonly #machine: MigrationEnvironment;
  readonly #options: WorkflowReplicaOptions;
  readonly #operator: CallingOperator;
  #count = 0;

  constructor(machine: MigrationEnvironment, options: WorkflowReplicaOptions) {
    const { member } = machine.replica;
    this.name = member;
    this.#machine = machine;
    this.#options = options;
    const socket = join(machine.data, 'host-admin.sock');
    this.#operator = new CallingOperator({ replica: `kv/${member}`, socket });
  }

  async view(): Promise<ReplicaView | null> {
    const status = await this.#operator.show();
    return status && viewOf(this.name, status);
  }

  async migrate(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const view = await this.view();
      if (view === null) await delay(retryMs);
      else if (view.hasFormer) await this.#drop();
      else await this.#migrateFrom(view.primary).catch((error: unknown) => this.#refused(error));
    }
  }

  /** A start is refused while the host is away: nothing has begun, so it is begun anew. */
  #refused(error: unknown): void {
    if (!String(error).includes('every preflight check must pass: storage host')) throw error;
    this.#options.log(`${this.name}: refused while its host was away`);
  }

  /** A mirror that was left. */
  async #drop(): Promise<void> {
    if ((await this.#operator.run('drop')).code === 0) this.ended.detached += 1;
  }

  async #migrateFrom(source: string): Promise<void> {
    const { random, firstFamily, log } = this.#options;
    const { client, replica } = this.#machine;
    const back = random.below(rollbackOneIn) === 0;
    const family = families[(firstFamily + this.ended.finalized) % families.length] ?? 'local';
    this.#count += 1;
    const id = `m${this.#count}`;
    const target = `${family}://${join(this.#machine.data, id)}`;
    const policy = back ? { finalize: 'manual' as const } : { deleteSource: true };
    const input = this.#machine.input({ source, target, id, policy });
    log(`${this.name}: to ${target}${back ? ' and back' : ''}`);
    await throughOutages(() => client.start(input));
    if (back) {
      await throughOutages(async () => {
        const { status } = await client.status(replica);
        if (status?.waiting?.kind !== 'finalize') throw new Error('it does not soak yet');
      });
      const operationId = randomUUID();
      await throughOutages(() => client.rollback(replica, 'soak', { operationId }));
    }
    await untilEnded(this.#machine, replica, id);
    const { outcome, reason } = await throughOutages(() => client.result(replica));
    log(`${this.name}: ${id} ${outcome}`);
    const expected = back ? 'rolled-back' : 'finalized';
    strictEqual(outcome, expected, `${this.name} ${id}: ${reason}`);
    strictEqual((await this.#machine.store.read())?.lastEnded?.result, expected);
    this.ended[back ? 'rolledBack' : 'finalized'] += 1;
  }
}
