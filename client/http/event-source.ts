/**
 * Reads server-sent events, and comes back after a connection that was lost with the id of the last
 * event: the server then answers with the newest state.
 */
import { setTimeout as delay } from 'node:timers/promises';

/** Before another connection, as long as the server says no other. */
const retryMs = 2_000;

export type StreamEvent =
  | { readonly data: string }
  /** The server takes no such stream: what it says, when it is JSON. */
  | { readonly status: number; readonly refused: unknown };

interface Source {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Ends when the server says that nothing will come any more, and when `signal` is given. */
export async function* eventsOf(source: Source): AsyncGenerator<StreamEvent> {
  let last: string | null = null;
  while (source.signal?.aborted !== true) {
    const response = await connect(source, last);
    if (response?.status === 204) return;
    if (response !== null && !response.ok && response.status < 500) {
      const refused: unknown = await response.json().catch(() => null);
      yield { status: response.status, refused };
      return;
    }
    if (response?.ok === true && response.body !== null) {
      for await (const event of parse(response.body)) {
        if (event.id !== null) last = event.id;
        if (event.data !== '') yield { data: event.data };
      }
    }
    await delay(retryMs, null, source.signal === undefined ? {} : { signal: source.signal }).catch(
      () => {},
    );
  }
}

/** Null: nobody answers now. */
async function connect({ url, headers, signal }: Source, last: string | null) {
  return fetch(url, {
    headers: { ...headers, ...(last !== null && { 'last-event-id': last }) },
    ...(signal !== undefined && { signal }),
  }).catch(() => null);
}

/** Of one connection; one that breaks ends. */
async function* parse(body: ReadableStream<Uint8Array>) {
  let rest = '';
  try {
    for await (const text of body.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) yield eventOf(block);
    }
  } catch {
    // Lost: the caller connects again.
  }
}

function eventOf(block: string): { readonly id: string | null; readonly data: string } {
  const fields = block.split('\n').map((line) => /^(\w*): ?(.*)$/.exec(line));
  const valuesOf = (name: string) =>
    fields.flatMap((field) => (field?.[1] === name ? [field[2] ?? ''] : []));
  return { id: valuesOf('id').at(-1) ?? null, data: valuesOf('data').join('\n') };
}
