/** Who moves a replica that a storage host serves: by commands that can be killed, or by calls. */
import { credentials, type ServiceError } from '@grpc/grpc-js';

import { hasCode, QuorumshiftError } from '../../core/errors.ts';
import { fromGrpcError } from '../../host/grpc-errors.ts';
import {
  StorageHostAdminClient,
  type CutOverResponse,
  type DropResponse,
  type FinalizeResponse,
  type ListResponse,
  type ProveResponse,
  type ReplicaStatus,
} from '../../host/proto/gen/storage_host_admin.ts';
import { called } from '../host/host-session.ts';
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
    try {
      const { replicas } = await this.#withClient((client) =>
        called<ListResponse>((answer) => client.list({}, answer)),
      );
      return replicas.find(({ replica }) => replica === this.#of.replica) ?? null;
    } catch (error) {
      if (hasCode(error, 'host.unreachable')) return null;
      throw error;
    }
  }

  async run(command: ReplicaCommand, uri = ''): Promise<CommandResult> {
    try {
      const answer = await this.#withClient((client) => this.#call(client, { command, uri }));
      return { code: 0, answer: { ...answer }, stderr: '' };
    } catch (error) {
      if (!(error instanceof QuorumshiftError)) throw error;
      return { code: 1, answer: {}, stderr: `${error.code}: ${error.message}` };
    }
  }

  #call(
    client: StorageHostAdminClient,
    { command, uri }: { readonly command: ReplicaCommand; readonly uri: string },
  ): Promise<object> {
    const { replica } = this.#of;
    const given = { replica };
    if (command === 'prove') return called<ProveResponse>((answer) => client.prove(given, answer));
    if (command === 'cutover') {
      return called<CutOverResponse>((answer) => client.cutOver(given, answer));
    }
    if (command === 'finalize') {
      return called<FinalizeResponse>((answer) => client.finalize(given, answer));
    }
    if (command === 'drop') return called<DropResponse>((answer) => client.drop(given, answer));
    const call = client.mirror({ replica, uri, bytesPerSecond: 0n });
    call.resume();
    return new Promise((resolve, reject) => {
      call.once('end', () => resolve({}));
      call.once('error', (error: ServiceError) => reject(error));
    });
  }

  async #withClient<Result>(
    use: (client: StorageHostAdminClient) => Promise<Result>,
  ): Promise<Result> {
    const { socket } = this.#of;
    const client = new StorageHostAdminClient(`unix:${socket}`, credentials.createInsecure());
    try {
      return await use(client);
    } catch (error) {
      throw fromGrpcError(error, socket);
    } finally {
      client.close();
    }
  }
}

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
