/**
 * A call's messages as an iteration that leaves the call open at its end: Node's own iteration of a
 * stream destroys it, and with it the answer that is still to be sent.
 */
import type { Readable } from 'node:stream';

import { fail } from '../core/errors.ts';

/** Messages taken from the stream before they are asked for, and their bytes; one is always. */
const mostWaiting = 64;
const mostWaitingBytes = 1024 * 1024;

/**
 * @param bytesOf roughly what a message holds
 * @param idleMs how long a message may be waited for; null: for ever
 * @throws when the client has cancelled; `session.stream-idle`
 */
export async function* incoming<Message>(
  call: Readable & AsyncIterable<Message>,
  bytesOf: (message: Message) => number,
  idleMs: number | null = null,
): AsyncGenerator<Message, void> {
  const waiting: Message[] = [];
  let bytes = 0;
  let hasEnded = false;
  const failure = { error: null as Error | null };
  let wake: (() => void) | null = null;
  const woken = () => {
    wake?.();
    wake = null;
  };
  call.on('data', (message: Message) => {
    waiting.push(message);
    bytes += bytesOf(message);
    if (waiting.length >= mostWaiting || bytes >= mostWaitingBytes) call.pause();
    woken();
  });
  call.once('end', () => {
    hasEnded = true;
    woken();
  });
  call.once('cancelled', () => {
    failure.error = new Error('the client cancelled the call');
    woken();
  });
  for (;;) {
    const message = waiting.shift();
    if (message !== undefined) {
      bytes -= bytesOf(message);
      if (waiting.length === 0) call.resume();
      yield message;
    } else if (failure.error !== null) {
      throw failure.error;
    } else if (hasEnded) {
      return;
    } else {
      await inTime(new Promise<void>((resolve) => (wake = resolve)), idleMs);
    }
  }
}

/** @throws `session.stream-idle` when it takes longer than `idleMs` */
export async function inTime(awaited: Promise<unknown>, idleMs: number | null): Promise<void> {
  if (idleMs === null) {
    await awaited;
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(fail('session.stream-idle', { idleMs })), idleMs);
  });
  try {
    await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
  }
}
