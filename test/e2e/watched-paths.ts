/** A process of its own that tries to open paths all the time, and what it has seen of them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

export interface WatchReport {
  readonly openings: number;
  /** By path: `in`, `fenced` and `missing`, in the order in which they followed each other. */
  readonly seen: Readonly<Record<string, readonly string[]>>;
}

export class WatchedPaths {
  readonly #watcher: ChildProcess;
  #output = '';

  /** Resolves once it watches. */
  static async start(paths: readonly string[]): Promise<WatchedPaths> {
    const program = fileURLToPath(new URL('path-watcher.js', import.meta.url));
    const watcher = spawn(process.execPath, [program, ...paths], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const watched = new WatchedPaths(watcher);
    watcher.stdout.setEncoding('utf8').on('data', (text: string) => (watched.#output += text));
    await once(watcher.stdout, 'data');
    return watched;
  }

  private constructor(watcher: ChildProcess) {
    this.#watcher = watcher;
  }

  /** Ends the watching; the same report when called again. */
  async end(): Promise<WatchReport> {
    const closed = this.#watcher.exitCode === null ? once(this.#watcher, 'close') : null;
    this.#watcher.stdin?.end();
    await closed;
    return JSON.parse(this.#output.slice(this.#output.indexOf('\n')));
  }
}
