/** A storage host as users start it, and a client of its protocol. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { credentials } from '@grpc/grpc-js';

import { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { program } from '../cli/run-cli.ts';

export interface HostProcess {
  readonly child: ChildProcess;
  readonly client: StorageHostClient;
  readonly socket: string;
  /** Lines of its log so far. */
  readonly lines: readonly string[];
  /** Ends it by this signal and waits for its end. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>;
}

export interface HostPlace {
  readonly directory: string;
  readonly config: string;
  readonly socket: string;
  readonly adminSocket: string;
}

/**
 * A directory with a host's configuration for these instances of the cluster "kv", and for whatever
 * `settings` adds for that directory.
 */
export async function makeHostPlace(
  instances: Readonly<Record<string, string>>,
  settings: (directory: string) => Readonly<Record<string, unknown>> = () => ({}),
): Promise<HostPlace> {
  const directory = await mkdtemp(join(tmpdir(), 'quorumshift-host-'));
  const socket = join(directory, 'host.sock');
  const adminSocket = join(directory, 'admin.sock');
  const config = join(directory, 'host.json');
  const replicas = Object.entries(instances).map(([member, scheme]) => ({
    cluster: 'kv',
    member,
    uri: `${scheme}://${directory}/${member}`,
    create: true,
  }));
  await writeFile(
    config,
    JSON.stringify({
      stateDir: `${directory}/state`,
      socket,
      adminSocket,
      replicas,
      ...settings(directory),
    }),
  );
  return { directory, config, socket, adminSocket };
}

/** @param given environment besides; another program that is a host */
export async function startHost(
  { config, socket }: HostPlace,
  given: { readonly env?: NodeJS.ProcessEnv; readonly command?: readonly string[] } = {},
): Promise<HostProcess> {
  const { env, command = [program, 'host', '--config', config] } = given;
  const child = spawn(process.execPath, command, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const lines: string[] = [];
  const ready = new Promise<void>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      lines.push(line);
      if (line.includes('is ready')) resolve();
    });
    child.once('exit', () => reject(new Error(`the host ended: ${lines.join('\n')}`)));
  });
  await ready;
  const client = new StorageHostClient(`unix:${socket}`, credentials.createInsecure());
  return {
    child,
    client,
    socket,
    lines,
    end: async (signal) => {
      client.close();
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      await ended;
    },
  };
}
