/** A client of the admin protocol, for agents and the command line. */
import type { ClientReadableStream, ClientUnaryCall, ServiceError } from '@grpc/grpc-js';

import { fail } from '../core/errors.ts';
import type {
  Caller,
  CutOverResponse,
  InstanceUris,
  Progress,
  PromoteResponse,
  Proof,
  ReplicaStatus,
  StorageHostAdminClient,
} from './proto/gen/storage_host_admin.ts';

export interface AdminClientOptions {
  readonly socket: string;
  /** Ends the call that is under way, and what the host does for it. */
  readonly signal?: AbortSignal;
}

type Ask<Response> = (
  answer: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** What is asked of a replica's mirror, and by whom. */
export interface Asked {
  readonly replica: string;
  readonly caller: Caller;
}

/** Every failure is the host's own error, `host.unreachable`, or the signal's reason. */
export class AdminClient {
  readonly #client: StorageHostAdminClient;
  readonly #signal: AbortSignal | undefined;

  private constructor(client: StorageHostAdminClient, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#signal = signal;
  }

  static async use<Result>(
    { socket, signal }: AdminClientOptions,
    work: (client: AdminClient) => Promise<Result>,
  ): Promise<Result> {
    // An offline command does without them.
    const [{ credentials }, { StorageHostAdminClient: Client }, { fromGrpcError }] =
      await Promise.all([
        import('@grpc/grpc-js'),
        import('./proto/gen/storage_host_admin.ts'),
        import('./grpc-errors.ts'),
      ]);
    const client = new Client(`unix:${socket}`, credentials.createInsecure());
    try {
      return await work(new AdminClient(client, signal));
    } catch (error) {
      signal?.throwIfAborted();
      throw fromGrpcError(error, socket);
    } finally {
      client.close();
    }
  }

  async list(): Promise<readonly ReplicaStatus[]> {
    const { replicas } = await this.#asked<{ replicas: ReplicaStatus[] }>((answer) =>
      this.#client.list({}, answer),
    );
    return replicas;
  }

  /** @throws `session.unknown-replica` */
  async show(replica: string): Promise<ReplicaStatus> {
    const replicas = await this.list();
    const found = replicas.find((status) => status.replica === replica);
    if (found !== undefined) return found;
    const served = replicas.map((status) => status.replica).join(', ');
    throw fail('session.unknown-replica', { replica, served });
  }

  /** Resolves once dual write has begun. */
  mirror(
    asked: Asked & {
      readonly target: string | InstanceUris;
      readonly bytesPerSecond: number | null;
    },
    onProgress: (progress: Progress) => void,
  ): Promise<void> {
    const { replica, caller, target, bytesPerSecond } = asked;
    const to =
      typeof target === 'string' ? { uri: target, uris: undefined } : { uri: '', uris: target };
    const request = { replica, caller, ...to, bytesPerSecond: BigInt(bytesPerSecond ?? 0) };
    return this.#streamed(this.#client.mirror(request), onProgress);
  }

  /** @param asked.readWithinSeconds as in the protocol; null: as the host is configured */
  async prove(
    { readWithinSeconds, ...asked }: Asked & { readonly readWithinSeconds: number | null },
    onProgress: (progress: Progress) => void,
  ): Promise<Proof> {
    let found: Proof | undefined;
    const request = { ...asked, readWithinSeconds: readWithinSeconds ?? undefined };
    await this.#streamed(this.#client.prove(request), ({ progress, proof }) => {
      if (progress !== undefined) onProgress(progress);
      found = proof ?? found;
    });
    if (found !== undefined) return found;
    throw new Error('the storage host ended its answer without a proof');
  }

  /** @param asked.digest of the proof that it is to rest on; empty: the last one */
  cutOver(asked: Asked & { readonly digest: string }): Promise<CutOverResponse> {
    return this.#asked((answer) => this.#client.cutOver(asked, answer));
  }

  /** @returns where what was primary lies now */
  async finalize(asked: Asked & { readonly deletes: boolean }): Promise<readonly string[]> {
    const { retired } = await this.#asked<{ retired: string[] }>((answer) =>
      this.#client.finalize(asked, answer),
    );
    return retired;
  }

  /** @returns where the primary lies now */
  async promote(
    asked: Asked & { readonly reason: string; readonly side: 'primary' | 'mirror' },
  ): Promise<string> {
    const { replica, caller, reason, side } = asked;
    const request = { replica, caller, reason, primary: side === 'primary' };
    const { primaryLogUri } = await this.#asked<PromoteResponse>((answer) =>
      this.#client.promote(request, answer),
    );
    return primaryLogUri;
  }

  async drop(asked: Asked): Promise<void> {
    await this.#asked<object>((answer) => this.#client.drop(asked, answer));
  }

  #asked<Response>(ask: Ask<Response>): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = ask((error, response) => {
        this.#signal?.removeEventListener('abort', cancel);
        if (error === null) resolve(response);
        else reject(error);
      });
      const cancel = () => call.cancel();
      this.#cancelled(cancel);
    });
  }

  #streamed<Message>(
    call: ClientReadableStream<Message>,
    onMessage: (message: Message) => void,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = () => call.cancel();
      const ended = () => this.#signal?.removeEventListener('abort', cancel);
      call.on('data', onMessage);
      call.once('end', () => {
        ended();
        resolve();
      });
      call.on('error', (error) => {
        ended();
        reject(error);
      });
      this.#cancelled(cancel);
    });
  }

  #cancelled(cancel: () => void): void {
    if (this.#signal?.aborted === true) cancel();
    this.#signal?.addEventListener('abort', cancel, { once: true });
  }
}
