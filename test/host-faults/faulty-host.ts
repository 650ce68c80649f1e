/** A storage host whose disk and clock a test makes fail while it runs (host-fault-shim.c). */
import { execFileSync } from 'node:child_process';
import { rename, rm, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { HostConfig } from '../../schemas/host-config.ts';
import {
  makeHostPlace,
  startHost,
  type HostPlace,
  type HostProcess,
} from '../host/host-process.ts';
import { CallingOperator } from '../soak/replica-operator.ts';
import { PersistentWriter } from './persistent-writer.ts';

/** Tests run from `dist/`; the source stays where it is. */
const source = fileURLToPath(
  new URL('../../../test/host-faults/host-fault-shim.c', import.meta.url),
);

/** What is wrong below a directory; see host-fault-shim.c. */
export interface DiskFault {
  readonly kind: 'write' | 'sync' | 'change';
  /** Absent: it only takes so long. */
  readonly code?: 'EIO' | 'ENOSPC' | 'EROFS';
  readonly delayMs?: number;
  readonly directory: string;
}

export class FaultyHost {
  readonly place: HostPlace;
  /** Of the replica that has the faults; n2 is the other one. */
  readonly operator: CallingOperator;
  readonly writers: readonly [PersistentWriter, PersistentWriter];
  readonly #library: string;
  /** Of the host that runs, or starts. */
  #process: Promise<HostProcess>;
  #log: readonly string[];

  /** With a replica n1 of this family, a replica n2, and a writer of each. */
  static async start(family: string, settings: Partial<HostConfig> = {}): Promise<FaultyHost> {
    const place = await makeHostPlace({ n1: family, n2: 'local' }, () => settings);
    const library = join(place.directory, 'host-fault-shim.so');
    const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror'];
    execFileSync('cc', [...flags, '-o', library, source]);
    const running = await startHost(place, { env: environment(place, library) });
    return new FaultyHost(place, { library, running });
  }

  private constructor(place: HostPlace, made: { library: string; running: HostProcess }) {
    this.place = place;
    this.#library = made.library;
    this.#process = Promise.resolve(made.running);
    this.#log = made.running.lines;
    this.operator = new CallingOperator({ replica: 'kv/n1', socket: place.adminSocket });
    const client = async () => (await this.#process).client;
    this.writers = [new PersistentWriter('n1', client), new PersistentWriter('n2', client)];
  }

  /** Lines of its log, since it was started last. */
  get log(): string {
    return this.#log.join('\n');
  }

  /** From now on this is wrong, and nothing else. */
  async fault(...faults: readonly DiskFault[]): Promise<void> {
    await this.#tell(
      faults.map(({ kind, code, delayMs = 0, directory }) => {
        const errno = code === undefined ? 0 : constants.errno[code];
        return `${kind} ${errno} ${delayMs} ${directory}`;
      }),
    );
  }

  /** The wall clock is so far off from now on; nothing else is wrong. */
  async setClock(offMs: number): Promise<void> {
    await this.#tell([`clock 0 ${offMs} /`]);
  }

  /** kill -9, and a new one. */
  async restart(): Promise<void> {
    const before = await this.#process;
    this.#process = before
      .end('SIGKILL')
      .then(() => startHost(this.place, { env: environment(this.place, this.#library) }));
    this.#log = (await this.#process).lines;
  }

  /** Stops writing, restarts, and compares what is there with what was acknowledged. */
  async checkAll(): Promise<void> {
    for (const writer of this.writers) await writer.stop();
    await this.restart();
    for (const writer of this.writers) await writer.check();
  }

  async stop(): Promise<void> {
    await this.fault();
    for (const writer of this.writers) await writer.stop().catch(() => {});
    await (await this.#process).end('SIGKILL');
  }

  /** After it was stopped: everything that it made. */
  async remove(): Promise<void> {
    await rm(this.place.directory, { recursive: true });
  }

  async #tell(lines: readonly string[]): Promise<void> {
    const file = faultsFile(this.place);
    await writeFile(`${file}.tmp`, lines.map((line) => `${line}\n`).join(''));
    await rename(`${file}.tmp`, file);
  }
}

function faultsFile({ directory }: HostPlace): string {
  return join(directory, 'faults');
}

function environment(place: HostPlace, library: string): NodeJS.ProcessEnv {
  return { LD_PRELOAD: library, HOST_FAULTS: faultsFile(place), UV_USE_IO_URING: '0' };
}
