/**
 * A replica of the example's cluster that an operator moves from family to family while it serves:
 * each next command follows from what the host shows, so any of them may have been killed, and so
 * may the host.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import type { SeededRandom } from '../../storage/testing/seeded-random.ts';
import type { ReplicaStatus } from '../../host/proto/gen/storage_host_admin.ts';
import type { MovedReplica } from './movement.ts';
import type { CommandResult } from './operator-command.ts';
import type { ReplicaCommand, ReplicaOperator } from './replica-operator.ts';

const families = ['rocksdb', 'sqlite', 'local'] as const;

/** Until a host that was killed is asked again. */
const retryMs = 100;

/** Far more than a migration takes under a load of kills. */
const patienceMs = 600_000;

/** What an operator may be told while things are killed and written: ask again. */
// A process of a host that was killed may hold an instance until it has ended too.
const passing = ['host.unreachable', 'proof.stale', 'image.source-changed', 'instance.locked'];

export interface ReplicaView {
  readonly primary: string;
  readonly mirror: string | null;
  readonly stage: string;
  /** A mirror that failed was left, and is still there. */
  readonly hasFormer: boolean;
}

export interface LiveReplicaOptions {
  readonly name: string;
  readonly operator: ReplicaOperator;
  /** Where its instances are made. */
  readonly directory: string;
  /** It moves to the families in turn, this one first. */
  readonly firstFamily: number;
  readonly random: SeededRandom;
  /** Runs a cutover; returns what it was answered. */
  readonly cutOver: (cutover: () => Promise<CommandResult>) => Promise<CommandResult>;
  readonly log: (line: string) => void;
}

/** One migration: where from and where to, and how often the primary still changes. */
interface Course {
  readonly source: string;
  readonly target: string;
  cutovers: number;
}

export class LiveReplica implements MovedReplica {
  readonly name: string;
  /** Migrations that ended on their target, and those that were rolled back. */
  readonly ended = { finalized: 0, rolledBack: 0, detached: 0 };
  readonly #options: LiveReplicaOptions;
  #course: Course | null = null;
  #deadline = Infinity;
  #places = 0;
  #families = 0;

  constructor(options: LiveReplicaOptions) {
    this.#options = options;
    this.name = options.name;
    this.#families = options.firstFamily;
  }

  /** Moves it until `isOver`; the step that is under way then is ended. */
  async migrate(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      if (Date.now() > this.#deadline) throw new Error(`${this.name}: a migration does not end`);
      const view = await this.view();
      if (view === null) await delay(retryMs);
      else await this.#step(view);
    }
  }

  /** As its host shows it; null while no host answers. */
  async view(): Promise<ReplicaView | null> {
    const status = await this.#options.operator.show();
    if (status === null) return null;
    return viewOf(this.name, status);
  }

  async #step({ primary, mirror, stage, hasFormer }: ReplicaView): Promise<void> {
    if (hasFormer) {
      if ((await this.#run('drop')).code === 0) this.ended.detached += 1;
      return;
    }
    this.#course ??= this.#plan(primary);
    const course = this.#course;
    if (mirror === null && primary === course.target) return this.#end(course.source, 'finalized');
    if (mirror === null || stage === 'bootstrapping') return this.#mirror(course, mirror);
    if (course.cutovers > 0) return this.#cutOver(course, primary);
    if (primary === course.target) await this.#run('finalize');
    else if ((await this.#run('drop')).code === 0) await this.#end(null, 'rolledBack');
  }

  async #mirror(course: Course, mirror: string | null): Promise<void> {
    await this.#run('mirror', mirror ?? course.target);
  }

  async #cutOver(course: Course, before: string): Promise<void> {
    if ((await this.#run('prove')).code !== 0) return;
    const { code } = await this.#options.cutOver(() => this.#run('cutover'));
    const after = code === 0 ? null : await this.view();
    if (code === 0 || (after !== null && after.primary !== before)) course.cutovers -= 1;
  }

  #plan(primary: string): Course {
    const { directory, random, log } = this.#options;
    const family = families[this.#families % families.length] ?? 'local';
    this.#places += 1;
    this.#deadline = Date.now() + patienceMs;
    const target = `${family}://${join(directory, `m${this.#places}`)}`;
    // Once in three times it goes back, and now and then forth again.
    const cutovers = [1, 1, 1, 1, 2, 3][random.below(6)] ?? 1;
    log(`${this.name}: to ${target}, ${cutovers} cutovers`);
    return { source: primary, target, cutovers };
  }

  /** What nothing names any more is taken away, as an operator would. */
  async #end(left: string | null, how: keyof LiveReplica['ended']): Promise<void> {
    this.ended[how] += 1;
    if (how === 'finalized') this.#families += 1;
    this.#options.log(`${this.name}: ${how}`);
    this.#course = null;
    if (left !== null) await rm(pathOf(left), { recursive: true, force: true });
  }

  /** @throws when it is refused for another reason than that things are killed and written */
  async #run(command: ReplicaCommand, uri?: string): Promise<CommandResult> {
    const result = await this.#options.operator.run(command, uri);
    const { code, stderr } = result;
    const isKnown = passing.some((known) => stderr.includes(known));
    if (code === null || code === 0 || isKnown) return result;
    throw new Error(`${this.name}: ${command} ${uri ?? ''} failed: ${stderr}`);
  }
}

/** @throws when its host refuses it */
export function viewOf(name: string, status: ReplicaStatus): ReplicaView {
  const { refusal, primary, mirror, stage, former } = status;
  if (primary === undefined) throw new Error(`${name} is not served: ${refusal}`);
  const second = mirror === undefined ? null : shortUri(mirror.logUri);
  const hasFormer = former !== undefined;
  return { primary: shortUri(primary.logUri), mirror: second, stage, hasFormer };
}

/** Of an instance in one directory, what an operator writes for it. */
function shortUri(logUri: string): string {
  return logUri.replace(/^(local:.*)\/log$/, '$1');
}

function pathOf(uri: string): string {
  return uri.replace(/^[a-z]+:\/\//, '');
}
