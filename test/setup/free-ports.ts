/**
 * Ports for processes that must be given one. They lie below those that the kernel hands out by
 * itself (ip_local_port_range, from 32768): between this look and the start of a process, or while
 * it is killed and started again, no connection of anybody's takes them.
 */
import { createServer } from 'node:net';
import { once } from 'node:events';

const lowest = 10_000;
const highest = 32_000;

/** The first of `count` in a row of 127.0.0.1. */
export async function freePorts(count: number): Promise<number> {
  for (;;) {
    const first = lowest + Math.floor(Math.random() * (highest - lowest - count));
    const all = Array.from({ length: count }, (_, i) => first + i);
    const looks = await Promise.allSettled(all.map(listenOn));
    if (looks.every(({ status }) => status === 'fulfilled')) return first;
  }
}

export async function freePort(): Promise<number> {
  return freePorts(1);
}

/** Listens for a moment. */
async function listenOn(port: number): Promise<void> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  server.close();
  await once(server, 'close');
}
