/** Sends notices by the configured hook or webhook, one after the other, beside everything else. */
import { spawn } from 'node:child_process';

import { messageOf } from '../core/errors.ts';
import type { Log } from '../core/log.ts';
import type { NotifyConfig } from '../schemas/control-config.ts';
import type { ControlStore } from './control-store.ts';
import type { StoredNotice } from './notice-table.ts';

/** How often it is looked for notices that another process has put, or whose time has come. */
const lookMs = 1_000;

/** Of what a hook says, for the log. */
const maxOutputBytes = 1000;

export class NoticeSender {
  readonly #store: ControlStore;
  readonly #notify: NotifyConfig;
  readonly #log: Log;
  #timer: NodeJS.Timeout | null = null;
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: {
    readonly store: ControlStore;
    readonly notify: NotifyConfig;
    readonly log: Log;
  }) {
    this.#store = options.store;
    this.#notify = options.notify;
    this.#log = options.log;
  }

  start(): void {
    this.#round = this.#sendDue().finally(() => {
      if (!this.#stopped) this.#timer = setTimeout(() => this.start(), lookMs);
    });
  }

  /** What is being sent is ended first: its time-out is short. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#round;
  }

  async #sendDue(): Promise<void> {
    try {
      while (!this.#stopped) {
        const notice = await this.#store.notices.take();
        if (notice === null) return;
        await this.#sendOne(notice);
      }
    } catch (error) {
      // Of the store: asked again in a moment, for as long as it is away.
      this.#log(`notices wait: ${messageOf(error)}`, {}, 'warn');
    }
  }

  async #sendOne(notice: StoredNotice): Promise<void> {
    try {
      await send(this.#notify, notice);
    } catch (error) {
      const reason = messageOf(error);
      const againMs = await this.#store.notices.failed(notice.id, reason);
      const next = againMs === null ? 'it is given up' : `again in ${againMs / 1000} s`;
      const line = `notice of ${notice.subject} was not taken (${next}): ${reason}`;
      this.#log(line, { subject: notice.subject, notice: notice.id }, 'warn');
      return;
    }
    await this.#store.notices.sent(notice.id);
  }
}

async function send(notify: NotifyConfig, notice: StoredNotice): Promise<void> {
  const timeoutMs = notify.timeoutSeconds * 1000;
  const body = JSON.stringify(notice);
  if ('exec' in notify) return runHook(notify.exec, body, timeoutMs);
  const response = await fetch(notify.webhook, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the webhook answered ${response.status}`);
}

/** Ends it, and what it has started, when its time is over. */
function runHook(
  [program = '', ...args]: readonly string[],
  input: string,
  timeoutMs: number,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], detached: true });
    let said = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      endGroup(child.pid);
    }, timeoutMs);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-maxOutputBytes);
    });
    // A hook need not read what it is told.
    child.stdin.on('error', () => {});
    child.stdin.end(`${input}\n`);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      endGroup(child.pid);
      if (code === 0) resolve();
      else if (late) reject(new Error(`the hook had not ended after ${timeoutMs} ms`));
      else reject(new Error(`the hook ended with ${code ?? signal ?? ''}: ${said.trim()}`));
    });
  });
}

function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // All of it has ended.
  }
}
