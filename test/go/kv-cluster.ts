/** The cluster of examples/hashicorp-raft, as its users start it. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

import { freePorts } from '../setup/free-ports.ts';

const threeFamilies = ['local', 'rocksdb', 'sqlite'];

/** Beyond this a cluster does not commit. */
const patienceMs = 150_000;
const requestMs = 15_000;

/** Lines of the cluster's log that are kept in memory; its file has all. */
const recentLines = 400;

export interface NodeStatus {
  readonly state: string;
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly appliedIndex: number;
}

export class KvCluster {
  /** Of each node that is a member, its HTTP address. */
  nodes: readonly string[];
  /** The first port of the cluster: node i has Raft at it + 2i - 2, HTTP on the next. */
  readonly port: number;
  /** Holds everything of it, and `cluster.log`. */
  readonly data: string;
  readonly #launcher: ChildProcess;
  readonly #file: WriteStream;
  #log: string[] = [];
  #snapshotsInstalled = 0;
  /** The latest process of each name, "n1 host". */
  readonly #pids = new Map<string, number>();
  /** How often each has been started. */
  readonly #starts = new Map<string, number>();

  private constructor(
    launcher: ChildProcess,
    { port, data, voters }: { port: number; data: string; voters: number },
  ) {
    this.#launcher = launcher;
    this.data = data;
    this.port = port;
    this.#file = createWriteStream(join(data, 'cluster.log'));
    this.nodes = Array.from({ length: voters }, (_, i) => this.#addressOf(i));
    for (const stream of [launcher.stdout, launcher.stderr]) {
      if (stream !== null) createInterface(stream).on('line', (line) => this.#heard(line));
    }
  }

  /**
   * @param families of each voter, the storage that it begins with
   * @param trailingLogs entries that nodes keep after a snapshot; 0: hashicorp/raft's own
   * @param electionTimeout such as "3s"; "0s": hashicorp/raft's own second
   * @param spares nodes that run besides, and wait to be added
   */
  static async start({
    families = threeFamilies,
    trailingLogs = 0,
    electionTimeout = '0s',
    spares = 0,
  } = {}): Promise<KvCluster> {
    const port = await freePorts(2 * (families.length + spares));
    const data = await mkdtemp(join(tmpdir(), 'quorumshift-kv-'));
    const program = resolve('examples/hashicorp-raft/run.mjs');
    const args = ['--data', data, '--port', String(port), '--families', families.join()];
    args.push('--trailing-logs', String(trailingLogs), '--spares', String(spares));
    args.push('--election-timeout', electionTimeout);
    const launcher = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return new KvCluster(launcher, { port, data, voters: families.length });
  }

  get names(): readonly string[] {
    return this.nodes.flatMap((_, i) => [`n${i + 1} host`, `n${i + 1} node`]);
  }

  /** Directory of a node, such as "n1": its host's sockets, and room for instances. */
  directory(node: string): string {
    return join(this.data, node);
  }

  /** Its last lines. */
  get log(): string {
    return this.#log.join('\n');
  }

  /** How often a node was brought up to date by a snapshot of its leader. */
  get snapshotsInstalled(): number {
    return this.#snapshotsInstalled;
  }

  /** Every process that runs or ran last. */
  get pids(): readonly number[] {
    return [...this.#pids.values()];
  }

  /** kill -9, and wait until it is started again. */
  async kill(name: string): Promise<void> {
    const starts = this.#starts.get(name) ?? 0;
    this.signal(name, 'SIGKILL');
    await this.until(`${name} runs again`, async () => (this.#starts.get(name) ?? 0) > starts);
  }

  /** SIGSTOP makes it hang, SIGCONT lets it go on. */
  signal(name: string, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.#pids.get(name);
    if (pid === undefined) throw new Error(`${name} does not run`);
    process.kill(pid, signal);
  }

  async until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + patienceMs;
    while (!(await isSo().catch(() => false))) {
      if (Date.now() > deadline)
        throw new Error(`not within ${patienceMs} ms: ${what}\n${this.log}`);
      await new Promise((next) => setTimeout(next, 50));
    }
  }

  /** True when it is acknowledged; it may be done otherwise too. */
  async write(node: string, key: string, value: string): Promise<boolean> {
    const signal = AbortSignal.timeout(requestMs);
    try {
      const answer = await fetch(`${node}/kv/${key}`, { method: 'PUT', body: value, signal });
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  async status(node: string, timeoutMs = requestMs): Promise<NodeStatus> {
    const signal = AbortSignal.timeout(timeoutMs);
    return (await (await fetch(`${node}/status`, { signal })).json()) as NodeStatus;
  }

  /** `/snapshot` or `/leader-transfer` of a node; whether it was done. */
  async ask(node: string, path: string): Promise<boolean> {
    const signal = AbortSignal.timeout(requestMs);
    const answer = await fetch(`${node}${path}`, { method: 'POST', signal }).catch(() => null);
    await answer?.body?.cancel();
    return answer?.status === 200;
  }

  /** The next spare becomes a member, which learns and does not vote. */
  async addLearner(): Promise<void> {
    const next = this.nodes.length;
    const body = this.#memberOf(next, false);
    const [first = ''] = this.nodes;
    await this.until('a learner is added', async () => {
      const signal = AbortSignal.timeout(requestMs);
      return (await fetch(`${first}/members`, { method: 'POST', body, signal })).status === 200;
    });
    this.nodes = [...this.nodes, this.#addressOf(next)];
  }

  /**
   * Has the leader add itself: the configuration stays as it is, in an entry that must be committed
   * all the same. True once it has been.
   */
  async changeNothing(leader: string): Promise<boolean> {
    const body = this.#memberOf(Number(leader.slice(1)) - 1, true);
    const signal = AbortSignal.timeout(patienceMs);
    const node = this.#addressOf(Number(leader.slice(1)) - 1);
    const answer = await fetch(`${node}/members`, { method: 'POST', body, signal });
    await answer.body?.cancel();
    return answer.status === 200;
  }

  #memberOf(i: number, voter: boolean): string {
    const address = `127.0.0.1:${this.port + 2 * i}`;
    return JSON.stringify({ id: `n${i + 1}`, address, voter });
  }

  #addressOf(i: number): string {
    return `http://127.0.0.1:${this.port + 2 * i + 1}`;
  }

  /** What the node itself has applied. */
  async local(node: string): Promise<Record<string, string>> {
    return (await (await fetch(`${node}/local`)).json()) as Record<string, string>;
  }

  /** Ends it as Ctrl-C does; the launcher's exit code. */
  async end(): Promise<number | null> {
    if (this.#launcher.exitCode !== null) return this.#launcher.exitCode;
    const ended = once(this.#launcher, 'exit') as Promise<[number | null]>;
    this.#launcher.kill('SIGINT');
    const [code] = await ended;
    this.#file.end();
    return code;
  }

  /** Ends it, and removes its data. */
  async stop(): Promise<number | null> {
    const code = await this.end();
    await rm(this.data, { recursive: true, force: true });
    return code;
  }

  #heard(line: string): void {
    this.#log.push(line);
    if (this.#log.length > 2 * recentLines) this.#log = this.#log.slice(-recentLines);
    this.#file.write(`${new Date().toISOString()} ${line}\n`);
    if (line.includes('Installed remote snapshot')) this.#snapshotsInstalled += 1;
    const [, name, pid] = /^(n\d (?:host|node)) runs, pid (\d+)$/.exec(line) ?? [];
    if (name === undefined) return;
    this.#pids.set(name, Number(pid));
    this.#starts.set(name, (this.#starts.get(name) ?? 0) + 1);
  }
}
