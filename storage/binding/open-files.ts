/**
 * Who still holds files of an instance (CUT-7): a process that was stopped only in name can write
 * through a descriptor, a mapping or a working directory, whatever its paths are called now.
 *
 * Linux: everything under the given trees is known by device and inode, and compared with what
 * /proc shows of every process. Files that were unlinked meanwhile are found by the path that /proc
 * still shows. It sees the processes of its own PID namespace: the agent must run in the host's.
 */
import { lstat, opendir, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';

import { fail } from '../../core/errors.ts';
import { isErrno } from '../files.ts';

export interface FileHolder {
  readonly pid: number;
  readonly command: string;
  readonly what: 'descriptor' | 'mapping' | 'cwd' | 'root';
  readonly path: string;
}

/** What is looked for: `<device>:<inode>` of everything in the trees, and the trees' real paths. */
interface Sought {
  readonly inodes: Set<string>;
  readonly trees: string[];
}

/** Processes begun while looking are looked at too, within reason: a busy machine never stops. */
const maxRounds = 5;

/** How many holders a message names; the first ones lead to the rest. */
const namedHolders = 5;

export interface LookOptions {
  /**
   * What a process that may not be looked at means: `refuse`, as the contract wants it, or
   * `pass-over` where the operator answers for such processes (an init outside the container; other
   * people's processes on a developer's machine).
   */
  readonly mayNotLook: 'refuse' | 'pass-over';
}

/**
 * Processes other than this one that hold something in the trees at `paths`; a path where nothing
 * is has no holders. One process may be named several times, for different paths.
 * @throws `fence.cannot-look` when a tree, or (by `mayNotLook`) a process, may not be looked at
 */
export async function findHolders(
  paths: readonly string[],
  options: LookOptions = { mayNotLook: 'refuse' },
): Promise<FileHolder[]> {
  const instance = paths.join(', ');
  const sought = await collect(instance, paths);
  const seen = new Set([process.pid]);
  const holders: FileHolder[] = [];
  for (let round = 0; round < maxRounds; round += 1) {
    const pids = (await processIds(instance, options)).filter((pid) => !seen.has(pid));
    if (pids.length === 0) break;
    for (const pid of pids) {
      seen.add(pid);
      const found = await holdingsOf(pid, sought);
      if (found !== null) holders.push(...found);
      else if (options.mayNotLook === 'refuse') {
        const reason = `pid ${pid} (${await commandOf(pid)}) may not be looked at`;
        throw fail('fence.cannot-look', { instance, reason });
      }
    }
  }
  return holders;
}

/** For a message: `pid 7 (raftd --data /d): descriptor /d/log/log_meta; … and 3 more`. */
export function describeHolders(holders: readonly FileHolder[]): string {
  const named = holders
    .slice(0, namedHolders)
    .map(({ pid, command, what, path }) => `pid ${pid} (${command}): ${what} ${path}`);
  const more = holders.length - named.length;
  return named.join('; ') + (more > 0 ? `; and ${more} more` : '');
}

async function collect(instance: string, paths: readonly string[]): Promise<Sought> {
  const sought: Sought = { inodes: new Set(), trees: [] };
  try {
    for (const path of paths) await collectTree(path, sought);
  } catch (error) {
    if (!isDenied(error)) throw error;
    throw fail('fence.cannot-look', { instance, reason: error.message }, { cause: error });
  }
  return sought;
}

async function collectTree(path: string, sought: Sought): Promise<void> {
  const tree = await unlessGone(realpath(path));
  if (tree === null) return;
  sought.trees.push(tree);
  const waiting = [tree];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const found = await unlessGone(lstat(next, { bigint: true }));
    if (found === null) continue;
    sought.inodes.add(`${found.dev}:${found.ino}`);
    if (!found.isDirectory()) continue;
    const directory = await unlessGone(opendir(next));
    if (directory === null) continue;
    for await (const entry of directory) waiting.push(join(next, entry.name));
  }
}

async function processIds(instance: string, { mayNotLook }: LookOptions): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  // Every PID namespace has a first process; where it does not show, others are hidden as well.
  if (pids.includes(1) || mayNotLook === 'pass-over') return pids;
  throw fail('fence.cannot-look', { instance, reason: '/proc hides processes (hidepid)' });
}

/** Null when the process may not be looked at. */
async function holdingsOf(pid: number, sought: Sought): Promise<FileHolder[] | null> {
  const held = new Map<string, Omit<FileHolder, 'pid' | 'command'>>();
  try {
    for (const task of await tasksToLookAt(pid)) {
      for await (const holding of holdings(task, sought)) {
        held.set(`${holding.what} ${holding.path}`, holding);
      }
    }
  } catch (error) {
    if (!isDenied(error)) throw error;
    return (await stateOf(pid)) === null ? [] : null;
  }
  if (held.size === 0) return [];
  const command = await commandOf(pid);
  return [...held.values()].map((holding) => ({ pid, command, ...holding }));
}

function isDenied(error: unknown): error is Error {
  return isErrno(error, 'EACCES') || isErrno(error, 'EPERM');
}

/**
 * A process whose first thread has ended shows nothing there, though its other threads hold all.
 */
async function tasksToLookAt(pid: number): Promise<string[]> {
  const state = await stateOf(pid);
  if (state !== 'Z') return state === null ? [] : [`/proc/${pid}`];
  const tasks = (await unlessGone(readdir(`/proc/${pid}/task`))) ?? [];
  return tasks.filter((task) => task !== String(pid)).map((task) => `/proc/${pid}/task/${task}`);
}

async function* holdings(
  task: string,
  sought: Sought,
): AsyncGenerator<Omit<FileHolder, 'pid' | 'command'>> {
  for (const what of ['cwd', 'root'] as const) {
    const path = await linkedTo(`${task}/${what}`, sought);
    if (path !== null) yield { what, path };
  }
  for (const descriptor of (await unlessGone(readdir(`${task}/fd`))) ?? []) {
    const path = await linkedTo(`${task}/fd/${descriptor}`, sought);
    if (path !== null) yield { what: 'descriptor', path };
  }
  for (const line of ((await unlessGone(readFile(`${task}/maps`, 'utf8'))) ?? '').split('\n')) {
    const path = mappedTo(line, sought);
    if (path !== null) yield { what: 'mapping', path };
  }
}

/** The link's text when it leads to something sought. */
async function linkedTo(link: string, sought: Sought): Promise<string | null> {
  const path = await unlessGone(readlink(link));
  if (path === null || !path.startsWith(sep)) return null;
  if (isWithin(path, sought)) return path;
  const target = await unlessGone(stat(link, { bigint: true }));
  return target !== null && sought.inodes.has(`${target.dev}:${target.ino}`) ? path : null;
}

/** proc(5): address, permissions, offset, `major:minor` in hexadecimal, inode, path. */
function mappedTo(line: string, sought: Sought): string | null {
  const fields = /^\S+ \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+)\s*(.*)$/.exec(line);
  if (fields === null) return null;
  const [, major, minor, inode, path = ''] = fields;
  const key = `${deviceNumber(BigInt(`0x${major}`), BigInt(`0x${minor}`))}:${inode}`;
  // By path as well: btrfs and overlayfs show another device here than stat does.
  return sought.inodes.has(key) || isWithin(path, sought) ? path : null;
}

/** st_dev of a device, as glibc's makedev. */
function deviceNumber(major: bigint, minor: bigint): bigint {
  const low = ((major & 0xfffn) << 8n) | (minor & 0xffn);
  return low | ((major & ~0xfffn) << 32n) | ((minor & ~0xffn) << 12n);
}

function isWithin(path: string, { trees }: Sought): boolean {
  const name = path.replace(/ \(deleted\)$/, '');
  return trees.some((tree) => name === tree || name.startsWith(tree + sep));
}

/** `R`, `S`, `Z`, …; null when the process has gone wholly, or only its exit status is left. */
async function stateOf(pid: number): Promise<string | null> {
  const text = await unlessGone(readFile(`/proc/${pid}/stat`, 'utf8'));
  if (text === null) return null;
  // The command, in parentheses, may hold anything.
  const state = text.slice(text.lastIndexOf(')') + 2, text.lastIndexOf(')') + 3);
  if (state !== 'Z') return state;
  const tasks = await unlessGone(readdir(`/proc/${pid}/task`));
  return (tasks?.length ?? 0) > 1 ? state : null;
}

async function commandOf(pid: number): Promise<string> {
  const line = (await unlessGone(readFile(`/proc/${pid}/cmdline`, 'utf8'))) ?? '';
  const command = line.split('\0').join(' ').trim();
  if (command !== '') return command;
  return ((await unlessGone(readFile(`/proc/${pid}/comm`, 'utf8'))) ?? 'ended').trim();
}

/** The result, or null when the process or file has vanished meanwhile. */
async function unlessGone<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'ENOTDIR'].some((code) => isErrno(error, code))) return null;
    throw error;
  }
}
