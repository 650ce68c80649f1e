/** A replica that runs under a supervisor, and the hooks by which an agent steers it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { InstanceUris } from '../../storage/contracts.ts';
import { callReplica } from './call-replica.ts';
import type { ReplicaConfiguration } from './replica-process.ts';
import { eventually } from './migration-environment.ts';

const hookNames = ['stop', 'repoint', 'start', 'probe'] as const;

/** For the agent of an environment at `root`. */
export function replicaHooks(root: string): Record<string, unknown> {
  const script = fileURLToPath(new URL('replica-hook.js', import.meta.url));
  return Object.fromEntries(
    hookNames.map((hook) => {
      const exec = [process.execPath, script, hook, configurationFile(root)];
      return [hook, { exec, timeoutSeconds: 30 }];
    }),
  );
}

interface Vote {
  readonly term: string;
  readonly votedFor: string;
}

export class SupervisedReplica {
  readonly #socket: string;
  readonly #supervisor: ChildProcess;
  /** What was acknowledged: entries by index, and the last vote. */
  readonly appended = new Map<string, string>();
  voted: Vote = { term: '', votedFor: '' };

  /** @param program of the replica; absent: the one of these tests */
  static async start(
    root: string,
    uris: InstanceUris,
    program?: string,
  ): Promise<SupervisedReplica> {
    const configuration: ReplicaConfiguration = {
      uris,
      socket: join(root, 'replica.sock'),
      pidFile: join(root, 'replica.pid'),
    };
    await writeFile(configurationFile(root), JSON.stringify(configuration));
    const supervising = fileURLToPath(new URL('supervisor.js', import.meta.url));
    const args = [
      supervising,
      configurationFile(root),
      ...(program === undefined ? [] : [program]),
    ];
    const supervisor = spawn(process.execPath, args, {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    const replica = new SupervisedReplica(configuration.socket, supervisor);
    await eventually('the replica serves', () => replica.state().catch(() => null));
    return replica;
  }

  private constructor(socket: string, supervisor: ChildProcess) {
    this.#socket = socket;
    this.#supervisor = supervisor;
  }

  state(): Promise<Record<string, string>> {
    return callReplica(this.#socket, '/state');
  }

  async append(value: string): Promise<void> {
    const { index = '' } = await callReplica(this.#socket, `/append?value=${value}`);
    this.appended.set(index, value);
  }

  async vote(candidate: string): Promise<void> {
    const { term = '' } = await callReplica(this.#socket, `/vote?for=${candidate}`);
    this.voted = { term, votedFor: candidate };
  }

  /** What the replica answers now for everything that it has acknowledged. */
  async remembered(): Promise<{ appended: Map<string, string>; voted: Vote }> {
    const appended = new Map<string, string>();
    for (const index of this.appended.keys()) {
      const { value = '' } = await callReplica(this.#socket, `/value?index=${index}`);
      appended.set(index, value);
    }
    const { term = '', votedFor = '' } = await this.state();
    return { appended, voted: { term, votedFor } };
  }

  /** Ends the supervisor and the replica. */
  async stop(): Promise<void> {
    const exited = once(this.#supervisor, 'exit');
    this.#supervisor.stdin?.end();
    await exited;
  }
}

export function configurationFile(root: string): string {
  return join(root, 'replica.json');
}
