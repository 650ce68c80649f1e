/** A storage host as a process of its own, and its operator's calls. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { credentials, type ServiceError } from '@grpc/grpc-js';

import {
  StorageHostAdminClient,
  type CutOverResponse,
  type DropResponse,
  type ListResponse,
} from '../../host/proto/gen/storage_host_admin.ts';

/** The cluster of every replica here; the load generator names it too. */
const cluster = 'bench';

const program = join(fileURLToPath(new URL('.', import.meta.url)), '../../../bin/quorumshift.mjs');

type Answer<Response> = (error: ServiceError | null, response: Response) => void;

export class HostProcess {
  readonly directory: string;
  readonly socket: string;
  readonly #child: ChildProcess;
  readonly #admin: StorageHostAdminClient;

  private constructor(directory: string, child: ChildProcess) {
    this.directory = directory;
    this.socket = join(directory, 'host.sock');
    this.#child = child;
    const admin = `unix:${join(directory, 'host-admin.sock')}`;
    this.#admin = new StorageHostAdminClient(admin, credentials.createInsecure());
  }

  /**
   * Serves these members, each at `<scheme>://<directory>/<member>`; what is there already is
   * served as it is.
   * @param settings of the host's configuration, besides
   * @throws Error with what the host has said, when it ends instead
   */
  static async start(
    directory: string,
    members: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<HostProcess> {
    mkdirSync(directory, { recursive: true });
    const replicas = Object.entries(members).map(([member, scheme]) => ({
      cluster,
      member,
      uri: `${scheme}://${directory}/${member}`,
      create: true,
    }));
    const config = join(directory, 'host.json');
    const [stateDir, socket] = [join(directory, 'state'), join(directory, 'host.sock')];
    // A disk that is slow for a moment must not end dual write in the middle of a measurement.
    const mirrorLimitMs = null;
    writeFileSync(
      config,
      JSON.stringify({ stateDir, socket, mirrorLimitMs, replicas, ...settings }),
    );
    const child = spawn(process.execPath, [program, 'host', '--config', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const lines: string[] = [];
    await new Promise<void>((resolve, reject) => {
      createInterface(child.stderr).on('line', (line) => {
        lines.push(line);
        if (line.includes('is ready')) resolve();
        if (line.includes('is not served')) reject(new Error(line));
      });
      child.once('exit', () => reject(new Error(`the host ended: ${lines.join('\n')}`)));
    });
    return new HostProcess(directory, child);
  }

  /** Copies the member to its second instance, until dual write has begun. */
  async mirror(member: string, uri: string, bytesPerSecond = 0): Promise<void> {
    const limit = BigInt(bytesPerSecond);
    await drained(
      this.#admin.mirror({ ...asked(member), uri, uris: undefined, bytesPerSecond: limit }),
    );
  }

  async prove(member: string): Promise<void> {
    await drained(this.#admin.prove({ ...asked(member), readWithinSeconds: 0 }));
  }

  cutOver(member: string): Promise<CutOverResponse> {
    const request = { ...asked(member), digest: '' };
    return called((answer: Answer<CutOverResponse>) => this.#admin.cutOver(request, answer));
  }

  drop(member: string): Promise<DropResponse> {
    return called((answer: Answer<DropResponse>) => this.#admin.drop(asked(member), answer));
  }

  /** Raised by each session that is opened, also by a client whose request has failed. */
  async epoch(member: string): Promise<bigint> {
    const list = await called((answer: Answer<ListResponse>) => this.#admin.list({}, answer));
    const status = list.replicas.find(({ replica }) => replica === replicaText(member));
    if (status === undefined) throw new Error(`${member} is not served`);
    return status.epoch;
  }

  /** Resident memory now, in 10^6 bytes. */
  residentMegabytes(): number {
    const [, kib = '0'] = /^VmRSS:\s+(\d+) kB$/m.exec(this.#proc('status')) ?? [];
    return (Number(kib) * 1024) / 1e6;
  }

  /** Processor time so far, of all its threads. */
  cpuSeconds(): number {
    // After the name, which may hold spaces: utime and stime, in ticks of 10 ms.
    const fields = this.#proc('stat').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  #proc(name: string): string {
    return readFileSync(`/proc/${this.#child.pid}/${name}`, 'utf8');
  }

  async stop(): Promise<void> {
    this.#admin.close();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await ended;
  }
}

function replicaText(member: string): string {
  return `${cluster}/${member}`;
}

function asked(member: string) {
  return { replica: replicaText(member), caller: { by: 'npm run bench:host', claim: undefined } };
}

/** What it tells on the way is not looked at. */
async function drained(progress: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of progress);
}

function called<Response>(call: (answer: Answer<Response>) => unknown): Promise<Response> {
  return new Promise((resolve, reject) => {
    call((error, response) => (error === null ? resolve(response) : reject(error)));
  });
}
