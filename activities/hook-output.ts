/**
 * What an operator's command prints: two files beside the ledger, of which only the end is kept.
 *
 * The command appends (`O_APPEND`), so its file can be cut under it: what it prints next goes to
 * the new end. What it prints between the reading of the end and the cut is lost from the file, and
 * nothing else.
 */
import { fstatSync, ftruncateSync, readSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

export interface HookOutput {
  readonly stdout: FileHandle;
  readonly stderr: FileHandle;
}

/** What is kept of each stream: a screenful for whoever looks at why a command failed. */
const keptBytes = 64 * 1024;

/** Beyond this a file is cut while the command runs: much more than is kept, so that it is rare. */
const longBytes = 1024 * 1024;

/** Between two looks at the files: a loop that prints writes some megabytes meanwhile. */
const lookMs = 20;

/** Enough for the lines that tell why a command failed. */
const tailBytes = 4096;

export async function openOutput(ledgerPath: string): Promise<HookOutput> {
  // For appending: a process left behind and the next command may share the file.
  const stdout = await open(`${ledgerPath}.stdout`, 'a+');
  try {
    return { stdout, stderr: await open(`${ledgerPath}.stderr`, 'a+') };
  } catch (error) {
    await stdout.close();
    throw error;
  }
}

/** Keeps the files short while `running` does, and cuts them to what is kept at its end. */
export async function keptShort<T>(output: HookOutput, running: () => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const cutting = cutWhileLong(output, ended.signal);
  // It is awaited once the command has ended: until then its failure keeps nothing.
  cutting.catch(() => {});
  try {
    return await running();
  } finally {
    ended.abort();
    await cutting;
    for (const file of files(output)) cut(file, keptBytes);
  }
}

async function cutWhileLong(output: HookOutput, ended: AbortSignal): Promise<void> {
  while (!ended.aborted) {
    await delay(lookMs, undefined, { signal: ended }).catch(() => {});
    for (const file of files(output)) cut(file, longBytes);
  }
}

/** Without giving way between the calls: what is printed meanwhile is lost. */
function cut({ fd }: FileHandle, beyondBytes: number): void {
  const { size } = fstatSync(fd);
  if (size <= beyondBytes) return;
  const end = Buffer.alloc(keptBytes);
  const bytesRead = readSync(fd, end, 0, keptBytes, size - keptBytes);
  ftruncateSync(fd, 0);
  writeSync(fd, end, 0, bytesRead);
}

/** The last 4 KiB. */
export async function readTail(file: FileHandle): Promise<string> {
  const { size } = await file.stat();
  return (await readEnd(file, { size, bytes: tailBytes })).toString('utf8');
}

async function readEnd(
  file: FileHandle,
  { size, bytes }: { size: number; bytes: number },
): Promise<Buffer> {
  const start = Math.max(0, size - bytes);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  return buffer.subarray(0, bytesRead);
}

function files({ stdout, stderr }: HookOutput): readonly FileHandle[] {
  return [stdout, stderr];
}
