/** The replicas of a host's configuration: served, or refused each for its own reason. */
import { fail, QuorumshiftError, messageOf } from '../core/errors.ts';
import { parseReplica, replicaText, type ReplicaName } from '../core/ids.ts';
import type { Log } from '../core/log.ts';
import type { InstanceRef } from '../schemas/binding-record.ts';
import { NamedPlaces, namingAlone } from '../storage/binding/named-instances.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { eachInTime, type Patience } from './each-in-time.ts';
import type { ServedReplicas } from './host-calls.ts';
import { promoteSide, type Promotion } from './promote-side.ts';
import { adviceFor } from './replica-advice.ts';
import { ServedReplica, type ServedReplicaOptions } from './served-replica.ts';

/** Replicas opened, or closed, at a time: opening reads every segment's headers. */
const atOnce = 4;
/** How long one whose disk does not answer keeps the others waiting. */
const usualPatienceMs = 10_000;

export interface HostedReplicasOptions {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly stateDir: string;
  readonly log: Log;
  readonly replicas: readonly HostedReplica[];
  /** How long one that stands still keeps the others waiting; absent: 10 s. */
  readonly patienceMs?: number | undefined;
}

/** One of the configuration. */
export interface HostedReplica {
  readonly replica: ReplicaName;
  /** @throws what is wrong with its configuration, which concerns it alone */
  readonly options: () => ServedReplicaOptions;
}

export class HostedReplicas {
  readonly #options: HostedReplicasOptions;
  readonly #replicas: ReadonlyMap<string, HostedReplica>;
  readonly #all = new Map<string, ServedReplica | Error>();
  readonly #patience: Patience;
  /** Resolve when each has been opened, or refused. */
  readonly #starting = new Map<string, Promise<void>>();
  /** One decision at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: HostedReplicasOptions) {
    this.#options = options;
    this.#patience = { atOnce, patienceMs: options.patienceMs ?? usualPatienceMs };
    this.#replicas = new Map(options.replicas.map((given) => [replicaText(given.replica), given]));
  }

  /**
   * Opens all of them; one that cannot be served safely is refused alone, and why is logged. One
   * that stands still is refused too, until it is open: the others are served without it.
   */
  static async open(options: HostedReplicasOptions): Promise<HostedReplicas> {
    const { files } = options;
    const hosted = new HostedReplicas(options);
    const unknown: string[] = [];
    const known: string[] = [];
    for (const name of hosted.#replicas.keys()) {
      const { directory } = hosted.recordOf(name);
      const isKnown = (await files.stat(directory.record)) !== null;
      (isKnown ? known : unknown).push(name);
      const since = new Date().toISOString();
      hosted.#all.set(name, fail('replica.opening', { replica: name, since }));
    }
    hosted.#sayLate(await hosted.#startAll(known));
    if (unknown.length > 0) await hosted.#startUnknown(unknown);
    return hosted;
  }

  /**
   * Those that no record knows yet are named beside no other process, by one look at all; as long
   * as one of them stands still nobody else names any.
   */
  #startUnknown(names: readonly string[]): Promise<void> {
    const { files, families, stateDir } = this.#options;
    return new Promise((resolve, reject) => {
      const named = namingAlone(files, stateDir, async () => {
        const places = await NamedPlaces.read({ families, files, stateDir });
        const late = await this.#startAll(names, places);
        this.#sayLate(late);
        resolve();
        await Promise.all(late.values());
      });
      named.catch(reject);
    });
  }

  #startAll(names: readonly string[], named?: NamedPlaces) {
    return eachInTime(names, this.#patience, (name) => this.#start(name, named));
  }

  #sayLate(late: ReadonlyMap<string, Promise<void>>): void {
    for (const name of late.keys()) {
      const line = `${name} is not served yet: its disk has not answered; it is waited for`;
      this.#options.log(line, { replica: name }, 'warn');
    }
  }

  /**
   * Closes all of them; one that fails or stands still does not keep the others.
   * @returns those that stand still: what they were given and have not acknowledged may be lost
   */
  async close(): Promise<readonly string[]> {
    const late = await eachInTime([...this.#all.keys()], this.#patience, (name) =>
      this.#close(name),
    );
    return [...late.keys()];
  }

  async #close(name: string): Promise<void> {
    await this.#starting.get(name);
    const found = this.#all.get(name);
    if (!(found instanceof ServedReplica)) return;
    try {
      await found.close();
    } catch (error) {
      const reason = messageOf(error);
      const line = `${name} could not be closed as it should: ${reason}`;
      this.#options.log(line, { replica: name }, 'warn');
    }
  }

  get all(): ServedReplicas {
    return this.#all;
  }

  /** Its record, whether it is served or not. @throws `session.unknown-replica` */
  recordOf(name: string): RecordStore {
    const { files, stateDir } = this.#options;
    const { replica } = this.#find(name);
    return new RecordStore({ files, stateDir, replica, now: () => new Date() });
  }

  /**
   * Lets a replica that cannot be served go on from one side alone (promote-side.ts), and serves
   * it.
   * @returns where its primary lies now
   * @throws `session.unknown-replica`, `promotion.refused` of one that is served; why it cannot be
   *   promoted; why it still cannot be served
   */
  promote(name: string, promotion: Promotion): Promise<InstanceRef> {
    const done = this.#turn.then(async () => {
      const { options } = this.#find(name);
      const found = this.#all.get(name);
      if (found instanceof ServedReplica) {
        const actual = 'its host must refuse it: it is served ("cutover" changes sides then)';
        const { side } = promotion;
        if (!found.isPoisoned) throw fail('promotion.refused', { replica: name, side, actual });
        // It has failed already; what matters is that its locks are gone.
        await found.close().catch(() => {});
      }
      try {
        return await promoteSide(options(), promotion);
      } finally {
        await this.#start(name);
      }
    });
    this.#turn = done.catch(() => {});
    return done.then((primary) => {
      const served = this.#all.get(name);
      if (served instanceof Error) throw served;
      return primary;
    });
  }

  #find(name: string): HostedReplica {
    const found = this.#replicas.get(replicaText(parseReplica(name)));
    if (found !== undefined) return found;
    const served = [...this.#replicas.keys()].join(', ') || 'none';
    throw fail('session.unknown-replica', { replica: name, served });
  }

  #start(name: string, named?: NamedPlaces): Promise<void> {
    const started = this.#startNow(name, named);
    this.#starting.set(name, started);
    return started;
  }

  async #startNow(name: string, named?: NamedPlaces): Promise<void> {
    const { log } = this.#options;
    const { options } = this.#find(name);
    try {
      this.#all.set(name, await ServedReplica.start({ ...options(), ...(named && { named }) }));
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#all.set(name, cause);
      const remedy = cause instanceof QuorumshiftError ? ` (${cause.definition.remedy})` : '';
      const code = cause instanceof QuorumshiftError ? cause.code : null;
      const parts = { replica: name, code };
      log(`${name} is not served: ${cause.message}${remedy}`, parts, 'error');
      // One that cannot be read is a reason of its own, and has been told.
      const record = await this.recordOf(name)
        .read()
        .catch(() => null);
      const { next } = adviceFor({ name, record, refusal: cause, holdsProof: false });
      for (const command of next) log(`${name}: next: ${command}`, parts, 'error');
    }
  }
}
