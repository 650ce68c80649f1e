/** The replicas of a host's configuration: served, or refused each for its own reason. */
import { fail, QuorumshiftError } from '../core/errors.ts';
import { parseReplica, replicaText, type ReplicaName } from '../core/ids.ts';
import type { InstanceRef } from '../schemas/binding-record.ts';
import { NamedPlaces, namingAlone } from '../storage/binding/named-instances.ts';
import { RecordStore } from '../storage/binding/record-store.ts';
import type { FamilyRegistry } from '../storage/family-registry.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import type { ServedReplicas } from './host-calls.ts';
import { promoteSide, type Promotion } from './promote-side.ts';
import { adviceFor } from './replica-advice.ts';
import { ServedReplica, type ServedReplicaOptions } from './served-replica.ts';

/** Replicas opened at a time: opening reads every segment's headers. */
const openAtOnce = 4;

export interface HostedReplicasOptions {
  readonly files: FileLayer;
  readonly families: FamilyRegistry;
  readonly stateDir: string;
  readonly log: (line: string) => void;
  readonly replicas: readonly HostedReplica[];
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
  /** One decision at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: HostedReplicasOptions) {
    this.#options = options;
    this.#replicas = new Map(options.replicas.map((given) => [replicaText(given.replica), given]));
  }

  /** Opens all of them; one that cannot be served safely is refused alone, and why is logged. */
  static async open(options: HostedReplicasOptions): Promise<HostedReplicas> {
    const { files, families, stateDir } = options;
    const hosted = new HostedReplicas(options);
    const records = [...hosted.#replicas.keys()].map((name) => hosted.recordOf(name));
    const isKnown = async ({ directory }: RecordStore) =>
      (await files.stat(directory.record)) !== null;
    const known = await Promise.all(records.map(isKnown));
    if (known.every((one) => one)) await hosted.#startAll();
    else {
      // Those that no record knows yet are named beside no other process, by one look at all.
      await namingAlone(files, stateDir, async () =>
        hosted.#startAll(await NamedPlaces.read({ families, files, stateDir })),
      );
    }
    return hosted;
  }

  async #startAll(named?: NamedPlaces): Promise<void> {
    const waiting = [...this.#replicas.keys()];
    const startNext = async (): Promise<void> => {
      for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
        await this.#start(name, named);
      }
    };
    await Promise.all(Array.from({ length: openAtOnce }, startNext));
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

  async #start(name: string, named?: NamedPlaces): Promise<void> {
    const { log } = this.#options;
    const { options } = this.#find(name);
    try {
      this.#all.set(name, await ServedReplica.start({ ...options(), ...(named && { named }) }));
    } catch (error) {
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#all.set(name, cause);
      const remedy = cause instanceof QuorumshiftError ? ` (${cause.definition.remedy})` : '';
      log(`${name} is not served: ${cause.message}${remedy}`);
      // One that cannot be read is a reason of its own, and has been told.
      const record = await this.recordOf(name)
        .read()
        .catch(() => null);
      const { next } = adviceFor({ name, record, refusal: cause, holdsProof: false });
      for (const command of next) log(`${name}: next: ${command}`);
    }
  }
}
