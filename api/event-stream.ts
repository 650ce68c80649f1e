/**
 * Server-sent events of what is watched. Each event is a whole state and its id the state's digest,
 * so whoever comes back with `Last-Event-ID` gets the newest state, or nothing where it has that.
 * However many watch one subject, it is asked for once a second.
 */
import { createHash } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import type { FastifyReply, FastifyRequest } from 'fastify';

import { fail, messageOf } from '../core/errors.ts';
import { limits } from './limits.ts';

/** What is watched is asked for again after this. */
const pollMs = 1_000;

/** Proxies close what is silent for a minute, some for 30 s. */
const heartbeatMs = 10_000;

/** A client that takes nothing for so long is gone, or holds its stream for nothing. */
const stalledMs = 60_000;

/** How long a client waits before it comes back. */
const retryMs = 2_000;

export interface Seen {
  /** JSON-safe; the same state is told once. */
  readonly state: unknown;
  /** Nothing will change any more. */
  readonly ended: boolean;
}

/** What is told to one stream, newest wins. */
interface Listener {
  see(event: Event): void;
  fail(error: unknown): void;
}

interface Event {
  readonly id: string;
  readonly data: string;
  readonly ended: boolean;
}

/** One subject that somebody watches. */
class Subject {
  readonly listeners = new Set<Listener>();
  readonly #read: () => Promise<Seen>;
  #timer: NodeJS.Timeout | null = null;

  constructor(read: () => Promise<Seen>) {
    this.#read = read;
  }

  begin(): void {
    void this.#look();
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #look(): Promise<void> {
    try {
      const event = eventOf(await this.#read());
      for (const listener of this.listeners) listener.see(event);
    } catch (error) {
      // Told to nobody as a state: a stream that was begun stays, and hears of the next one.
      for (const listener of this.listeners) listener.fail(error);
    }
    if (this.listeners.size > 0) this.#timer = setTimeout(() => void this.#look(), pollMs);
  }
}

function eventOf({ state, ended }: Seen): Event {
  const data = JSON.stringify(state);
  const id = createHash('sha256').update(data).digest('base64url').slice(0, 22);
  return { id, data, ended };
}

export class EventStreams {
  readonly #subjects = new Map<string, Subject>();
  readonly #open = new Set<Stream>();
  /** Of each stream, from before its first state is read: who has it. */
  readonly #places = new Set<{ readonly by: string }>();
  #closed = false;

  get size(): number {
    return this.#places.size;
  }

  /**
   * Answers with the subject's states until it has ended, the client goes, `allowed` says no, or
   * the server stops. The first state is read before anything is answered.
   * @throws what `read` throws at first; `api.overloaded`
   */
  async serve(
    request: FastifyRequest,
    reply: FastifyReply,
    watched: {
      /** The same subject is asked for once, for all. */
      readonly subject: string;
      readonly read: () => Promise<Seen>;
      readonly allowed: () => Promise<boolean>;
      /** Who watches: none may take all streams. */
      readonly by: string;
    },
  ): Promise<void> {
    const place = this.#take(watched.by);
    try {
      await this.#answer(request, reply, watched);
    } finally {
      this.#places.delete(place);
    }
  }

  /** Ends every stream; clients come back to whoever answers then. */
  close(): void {
    this.#closed = true;
    for (const stream of this.#open) stream.end();
  }

  /** Before anything is waited for, so that many at once are counted too. */
  #take(by: string): { readonly by: string } {
    const { streams, streamsOfOne } = limits;
    if (this.#places.size >= streams) {
      throw fail('api.overloaded', { most: streams, what: 'streams' });
    }
    let own = 0;
    for (const other of this.#places) if (other.by === by) own += 1;
    if (own >= streamsOfOne) {
      throw fail('api.overloaded', { most: streamsOfOne, what: 'streams of one token' });
    }
    const place = { by };
    this.#places.add(place);
    return place;
  }

  async #answer(
    request: FastifyRequest,
    reply: FastifyReply,
    watched: {
      readonly subject: string;
      readonly read: () => Promise<Seen>;
      readonly allowed: () => Promise<boolean>;
    },
  ): Promise<void> {
    const first = eventOf(await watched.read());
    const last = request.headers['last-event-id'];
    if (first.ended && last === first.id) {
      // A browser stops coming back for this answer alone.
      await reply.code(204).send();
      return;
    }
    reply.hijack();
    const stream = new Stream(reply.raw, typeof last === 'string' ? last : null, watched.allowed);
    this.#open.add(stream);
    stream.see(first);
    if (this.#closed) stream.end();
    else if (!first.ended) this.#watch(watched.subject, watched.read, stream);
    await stream.closed;
    this.#open.delete(stream);
  }

  #watch(name: string, read: () => Promise<Seen>, stream: Stream): void {
    let subject = this.#subjects.get(name);
    const fresh = subject === undefined;
    subject ??= new Subject(read);
    const watched = subject;
    watched.listeners.add(stream);
    if (fresh) {
      this.#subjects.set(name, watched);
      watched.begin();
    }
    void stream.closed.then(() => {
      watched.listeners.delete(stream);
      if (watched.listeners.size > 0) return;
      watched.end();
      if (this.#subjects.get(name) === watched) this.#subjects.delete(name);
    });
  }
}

/** One client's. Of states that it does not take in time only the newest is kept. */
class Stream implements Listener {
  readonly closed: Promise<void>;
  readonly #response: ServerResponse;
  readonly #allowed: () => Promise<boolean>;
  readonly #heartbeat: NodeJS.Timeout;
  #told: string | null;
  #pending: Event | null = null;
  /** Since when the client has not taken what was written; by a clock that only goes forward. */
  #blockedSince: number | null = null;
  #delivering = false;
  #problem: string | null = null;

  constructor(response: ServerResponse, last: string | null, allowed: () => Promise<boolean>) {
    this.#response = response;
    this.#allowed = allowed;
    this.#told = last;
    response.writeHead(200, {
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      // Kept, it would hold up the end of the server, which ends the stream first.
      connection: 'close',
      'x-accel-buffering': 'no',
    });
    this.#write(`retry: ${retryMs}\n\n`);
    this.#heartbeat = setInterval(() => void this.#beat(), heartbeatMs);
    response.on('drain', () => {
      this.#blockedSince = null;
      void this.#deliver();
    });
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        clearInterval(this.#heartbeat);
        resolve();
      });
      response.once('error', () => response.destroy());
    });
  }

  see(event: Event): void {
    this.#problem = null;
    if (event.id === this.#told && !event.ended) return;
    this.#pending = event;
    void this.#deliver();
  }

  fail(error: unknown): void {
    const says = messageOf(error);
    if (this.#blockedSince !== null || says === this.#problem) return;
    this.#problem = says;
    this.#write(`: cannot ask now: ${says.replaceAll(/\s+/g, ' ')}\n\n`);
  }

  /** A client that takes nothing would never hear of an end, and hold up the server's. */
  end(): void {
    if (this.#blockedSince !== null) this.#response.destroy();
    else if (!this.#response.writableEnded) this.#response.end();
  }

  async #deliver(): Promise<void> {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#pending !== null && this.#blockedSince === null && (await this.#mayGoOn())) {
      const event: Event = this.#pending;
      this.#pending = null;
      this.#told = event.id;
      this.#write(`id: ${event.id}\nevent: state\ndata: ${event.data}\n\n`);
      if (event.ended) this.#response.end();
    }
    this.#delivering = false;
  }

  /** To a client that takes nothing, silence says the same; for a while. */
  async #beat(): Promise<void> {
    if (!(await this.#mayGoOn())) return;
    if (this.#blockedSince === null) this.#write(': still here\n\n');
    else if (performance.now() - this.#blockedSince >= stalledMs) this.#response.destroy();
  }

  /** A token that was revoked, or has expired, sees nothing more. */
  async #mayGoOn(): Promise<boolean> {
    if (this.#response.writableEnded) return false;
    const allowed = await this.#allowed().catch(() => false);
    if (!allowed) this.end();
    return allowed && !this.#response.writableEnded;
  }

  #write(text: string): void {
    if (this.#response.writableEnded || this.#response.write(text)) return;
    this.#blockedSince ??= performance.now();
  }
}
