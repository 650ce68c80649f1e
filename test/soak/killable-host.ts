/** A storage host that is killed and started again, also while it starts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { credentials } from '@grpc/grpc-js';

import { StorageHostClient } from '../../host/proto/gen/storage_host.ts';
import { program } from '../cli/run-cli.ts';
import type { HostPlace } from '../host/host-process.ts';

/** Lines of its log that are kept. */
const recentLines = 200;

interface HostLife {
  readonly process: ChildProcess;
  /** True once it serves; false when it was killed before. */
  readonly isReady: Promise<boolean>;
}

export class KillableHost {
  readonly #place: HostPlace;
  readonly #heard: (line: string) => void;
  #life: HostLife;
  #log: string[] = [];
  #isOver = false;

  /** @param heard is told each line of its log */
  constructor(place: HostPlace, heard: (line: string) => void) {
    this.#place = place;
    this.#heard = heard;
    this.#life = this.#start();
  }

  /** Its last lines. */
  get log(): string {
    return this.#log.join('\n');
  }

  /** A client of the host that serves now or next. @throws when it ended by itself */
  async connect(): Promise<StorageHostClient> {
    for (;;) {
      const life = this.#life;
      if (await life.isReady) {
        return new StorageHostClient(`unix:${this.#place.socket}`, credentials.createInsecure());
      }
      const wasKilled = life.process.signalCode === 'SIGKILL' && !this.#isOver;
      if (!wasKilled) throw new Error(`the host ended by itself:\n${this.log}`);
    }
  }

  /** Whether it has come to serve since it was started last. */
  async isReady(): Promise<boolean> {
    return this.#life.isReady;
  }

  /** kill -9, and a new one at once. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
    this.#life = this.#start();
  }

  /** Ends it; none is started any more. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#end('SIGTERM');
  }

  async #end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const { process } = this.#life;
    if (process.exitCode !== null || process.signalCode !== null) return;
    const ended = once(process, 'exit');
    process.kill(signal);
    await ended;
  }

  #start(): HostLife {
    const child = spawn(process.execPath, [program, 'host', '--config', this.#place.config], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    const isReady = new Promise<boolean>((resolve) => {
      createInterface(child.stderr).on('line', (line) => {
        this.#log.push(line);
        if (this.#log.length > 2 * recentLines) this.#log = this.#log.slice(-recentLines);
        if (line.includes('is ready')) resolve(true);
        else this.#heard(line);
      });
      child.once('exit', () => resolve(false));
    });
    return { process: child, isReady };
  }
}
