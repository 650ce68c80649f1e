/** What a storage host is doing, counted: for its operators and its metrics. */
import { monitorEventLoopDelay, type IntervalHistogram } from 'node:perf_hooks';

import { fail } from '../core/errors.ts';
import type { FileHandle, FileLayer, OpenHow } from '../storage/file-layer.ts';

/** How often the event loop is looked at: a pause shorter than it does not show. */
const resolutionMs = 10;
const nanosecondsPerMs = 1e6;
/** What is told is of a span of this length at least. */
const spanMs = 10_000;

export interface EventLoopDelay {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

export class HostActivity {
  /** Of the file layer, synced writes included; the engines' own are not among them. */
  fileSyncs = 0;
  writeStreams = 0;
  snapshotStreams = 0;
  readonly #mostSnapshotStreams: number;
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: resolutionMs });
  #last: EventLoopDelay = { p50Ms: 0, p99Ms: 0, maxMs: 0 };
  readonly #turning: NodeJS.Timeout;

  constructor(options: { readonly mostSnapshotStreams: number }) {
    this.#mostSnapshotStreams = options.mostSnapshotStreams;
    this.#delay.enable();
    this.#turning = setInterval(() => {
      this.#last = this.#present();
      this.#delay.reset();
    }, spanMs);
    this.#turning.unref();
  }

  stop(): void {
    clearInterval(this.#turning);
    this.#delay.disable();
  }

  /** The worse of the present span and the one before it. */
  get eventLoopDelay(): EventLoopDelay {
    const now = this.#present();
    return now.p99Ms > this.#last.p99Ms ? now : this.#last;
  }

  #present(): EventLoopDelay {
    const ms = (nanoseconds: number) =>
      Number.isFinite(nanoseconds) ? Math.max(0, nanoseconds / nanosecondsPerMs - resolutionMs) : 0;
    const { max } = this.#delay;
    return {
      p50Ms: ms(this.#delay.percentile(50)),
      p99Ms: ms(this.#delay.percentile(99)),
      maxMs: ms(max),
    };
  }

  async duringWrites(work: () => Promise<void>): Promise<void> {
    this.writeStreams += 1;
    try {
      await work();
    } finally {
      this.writeStreams -= 1;
    }
  }

  /** @throws `session.too-many-streams` */
  async duringSnapshot<Result>(work: () => Promise<Result>): Promise<Result> {
    const most = this.#mostSnapshotStreams;
    if (this.snapshotStreams >= most) throw fail('session.too-many-streams', { most });
    this.snapshotStreams += 1;
    try {
      return await work();
    } finally {
      this.snapshotStreams -= 1;
    }
  }

  /** The same file layer, whose syncs are counted. */
  counting(files: FileLayer): FileLayer {
    const counted = (handle: FileHandle, how: OpenHow | undefined): FileHandle => ({
      read: (...given) => handle.read(...given),
      write: (...given) => {
        if (how?.synced === true) this.fileSyncs += 1;
        return handle.write(...given);
      },
      truncate: (bytes) => handle.truncate(bytes),
      size: () => handle.size(),
      close: () => handle.close(),
      sync: () => {
        this.fileSyncs += 1;
        return handle.sync();
      },
    });
    return {
      list: (path) => files.list(path),
      stat: (path) => files.stat(path),
      makeDirectory: (path) => files.makeDirectory(path),
      removeFile: (path) => files.removeFile(path),
      removeDirectory: (path) => files.removeDirectory(path),
      rename: (from, to) => files.rename(from, to),
      exchange: (a, b) => files.exchange(a, b),
      lock: (path, kind) => files.lock(path, kind),
      realPath: (path) => files.realPath(path),
      open: async (path, mode, how) => counted(await files.open(path, mode, how), how),
      syncDirectory: (path) => {
        this.fileSyncs += 1;
        return files.syncDirectory(path);
      },
    };
  }
}
