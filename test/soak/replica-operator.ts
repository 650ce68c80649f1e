/** Who moves a replica that a storage host serves: by commands that can be killed, or by calls. */
import { hasCode, QuorumshiftError } from '../../core/errors.ts';
import { AdminClient, type Asked } from '../../host/admin-client.ts';
import type { ReplicaStatus } from '../../host/proto/gen/storage_host_admin.ts';
import { OperatorCommand, type CommandResult } from './operator-command.ts';

export type ReplicaCommand = 'mirror' | 'prove' | 'cutover' | 'finalize' | 'drop';

export interface ReplicaOperator {
  /** As the host shows it; null while no host answers. */
  show(): Promise<ReplicaStatus | null>;
  run(command: ReplicaCommand, uri?: string): Promise<CommandResult>;
}

/** The replica, and the host's admin socket. */
export interface OperatedReplica {
  readonly replica: string;
  readonly socket: string;
}

/** By the admin protocol, without a process for each call. */
export class CallingOperator implements ReplicaOperator {
  readonly #of: OperatedReplica;

  constructor(of: OperatedReplica) {
    this.#of = of;
  }

  async show(): Promise<ReplicaStatus | null> {
    const { replica, socket } = this.#of;
    try {
      const replicas = await AdminClient.use({ socket }, (client) => client.list());
      return replicas.find((status) => status.replica === replica) ?? null;
    } catch (error) {
      if (hasCode(error, 'host.unreachable')) return null;
      throw error;
    }
  }

  async run(command: ReplicaCommand, uri = ''): Promise<CommandResult> {
    const { replica, socket } = this.#of;
    const asked = { replica, caller: { by: 'soak', claim: undefined } };
    try {
      const answer = await AdminClient.use({ socket }, (client) =>
        calls[command](client, asked, uri),
      );
      return { code: 0, answer, stderr: '' };
    } catch (error) {
      if (!(error instanceof QuorumshiftError)) throw error;
      return { code: 1, answer: {}, stderr: `${error.code}: ${error.message}` };
    }
  }
}

type Call = (client: AdminClient, asked: Asked, uri: string) => Promise<Record<string, unknown>>;

const calls: Readonly<Record<ReplicaCommand, Call>> = {
  mirror: async (client, asked, target) => {
    await client.mirror({ ...asked, target, bytesPerSecond: null }, () => {});
    return {};
  },
  prove: async (client, asked) => ({
    ...(await client.prove({ ...asked, readWithinSeconds: null }, () => {})),
  }),
  cutover: async (client, asked) => ({ ...(await client.cutOver({ ...asked, digest: '' })) }),
  finalize: async (client, asked) => ({
    retired: await client.finalize({ ...asked, deletes: false }),
  }),
  drop: async (client, asked) => {
    await client.drop(asked);
    return {};
  },
};

/** By `quorumshift replica …`, each a process. */
export class CommandingOperator implements ReplicaOperator {
  readonly #of: OperatedReplica;
  readonly #looks: CallingOperator;
  #running: OperatorCommand | null = null;

  constructor(of: OperatedReplica) {
    this.#of = of;
    this.#looks = new CallingOperator(of);
  }

  show(): Promise<ReplicaStatus | null> {
    return this.#looks.show();
  }

  async run(command: ReplicaCommand, uri?: string): Promise<CommandResult> {
    const { replica, socket } = this.#of;
    const target = uri === undefined ? [] : [uri];
    this.#running = new OperatorCommand([
      ...['replica', command, replica, ...target],
      ...['--socket', socket],
    ]);
    const result = await this.#running.ended;
    this.#running = null;
    return result;
  }

  /** kill -9 of the command that runs now, if one does. */
  async kill(): Promise<boolean> {
    return (await this.#running?.kill()) ?? false;
  }
}
