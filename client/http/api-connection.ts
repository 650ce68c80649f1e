/** Calls of the HTTP API, typed by its document; what it refuses is thrown as the same error. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import createClient, { type Client } from 'openapi-fetch';

import { errorRegistry } from '../../core/error-registry.ts';
import { fail, QuorumshiftError, type ErrorCode, messageOf } from '../../core/errors.ts';
import type { Accepted } from '../../workflows/messages.ts';
import type { OperationOptions } from '../workflow-calls.ts';
import { eventsOf } from './event-source.ts';
import type { components, paths } from './gen/paths.ts';

type Problem = components['schemas']['Problem'];

/** Most items of one page. */
const pageItems = 200;

/** An operation that is under way is asked for again after this. */
const pollMs = 300;

export interface ApiPlace {
  /** `http://127.0.0.1:8240` */
  readonly url: string;
  /** Absent: the server must take requests without. */
  readonly token?: string;
}

export class ApiConnection {
  /** Typed calls; give what they answer to {@link answered}. */
  readonly calls: Client<paths>;
  readonly #place: ApiPlace;

  constructor(place: ApiPlace) {
    this.#place = place;
    this.calls = createClient<paths>({ baseUrl: place.url, headers: authorization(place) });
  }

  /**
   * The answer of a call. @throws what the server says, as the error that it is there;
   * `api.unreachable`
   */
  async answered<Data>(
    call: Promise<{ readonly data?: Data; readonly error?: unknown; readonly response: Response }>,
  ): Promise<Data> {
    const { data, error, response } = await call.catch((cause: unknown) => {
      throw this.#unreachable(cause);
    });
    if (data !== undefined && response.ok) return data;
    throw isProblem(error)
      ? errorOf(error)
      : this.#unreachable(new Error(`it answers with status ${response.status}`));
  }

  /** What the change led to, once it has ended. @throws as {@link answered}, and why it failed */
  async done<Result>(
    call: Parameters<typeof this.answered<RunningOperation<Result>>>[0],
  ): Promise<Result> {
    let operation = await this.answered(call);
    while (operation.state === 'running') {
      await delay(pollMs);
      const path = { id: operation.id };
      const asked = this.calls.GET('/v1/operations/{id}', { params: { path } });
      operation = (await this.answered(asked)) as RunningOperation<Result>;
    }
    const { result, problem } = operation;
    if (problem !== null) throw errorOf(problem);
    return result as Result;
  }

  /** Steers what runs. @throws as {@link done} */
  wish<Path extends SteeringPath>(path: Path, wish: Wish<Path>): Promise<Accepted> {
    // Typed as one path's for all: that each has its own subject and body the call has shown.
    const { path: subject, body = {}, options } = wish as unknown as Wish<typeof anyPath>;
    const params = { path: subject, header: keyHeader(options) };
    return this.done(this.calls.POST(path as typeof anyPath, { params, body }));
  }

  /** The newest `limit` of a list, page by page. @throws as {@link answered} */
  async listed<Item>(
    limit: number,
    pageOf: (query: {
      limit: number;
      cursor?: string;
    }) => Parameters<typeof this.answered<ListPage<Item>>>[0],
  ): Promise<Item[]> {
    const found: Item[] = [];
    let cursor: string | null = null;
    do {
      const query = {
        limit: Math.min(limit - found.length, pageItems),
        ...(cursor !== null && { cursor }),
      };
      const page: ListPage<Item> = await this.answered(pageOf(query));
      found.push(...page.items);
      cursor = page.next;
    } while (cursor !== null && found.length < limit);
    return found;
  }

  /** Whole states, newest each time, until the last one. @throws as {@link answered} */
  async *events<State>(path: string, signal?: AbortSignal): AsyncGenerator<State> {
    const options = {
      url: new URL(path, this.#place.url),
      headers: authorization(this.#place),
      ...(signal !== undefined && { signal }),
    };
    for await (const event of eventsOf(options)) {
      if ('data' in event) yield JSON.parse(event.data) as State;
      else if (isProblem(event.refused)) throw errorOf(event.refused);
      else throw this.#unreachable(new Error(`it answers with status ${event.status}`));
    }
  }

  #unreachable(cause: unknown): Error {
    const of = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    const reason = messageOf(of);
    return fail('api.unreachable', { url: this.#place.url, reason }, { cause });
  }
}

interface ListPage<Item> {
  readonly items: Item[];
  readonly next: string | null;
}

/** Resources whose only answer is that a wish was taken. */
type SteeringPath = {
  [Path in keyof paths]: paths[Path] extends { post: Steering } ? Path : never;
}[keyof paths];

interface Steering {
  readonly responses: {
    202: { content: { 'application/json': components['schemas']['SteeringOperation'] } };
  };
}

const anyPath = '/v1/clusters/{cluster}/pause';

type BodyOf<Path extends SteeringPath> =
  paths[Path]['post']['requestBody']['content']['application/json'];

/** `body` may be left out where everything in it may be. */
type Wish<Path extends SteeringPath> = {
  readonly path: paths[Path]['post']['parameters']['path'];
  readonly options?: OperationOptions | undefined;
} & (Record<string, never> extends BodyOf<Path>
  ? { readonly body?: BodyOf<Path> }
  : { readonly body: BodyOf<Path> });

interface RunningOperation<Result> {
  readonly id: string;
  readonly state: 'running' | 'done' | 'failed';
  readonly result: Result | null;
  readonly problem: Problem | null;
}

/** New for each change, unless the caller repeats one. */
export function keyHeader(options?: OperationOptions): { 'idempotency-key': string } {
  return { 'idempotency-key': options?.operationId ?? randomUUID() };
}

function authorization({ token }: ApiPlace): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

function isProblem(error: unknown): error is Problem {
  return typeof error === 'object' && error !== null && 'code' in error && 'detail' in error;
}

/** The error that the server met; one of a later release by what it says of itself. */
function errorOf({ code, detail, details, errors }: Problem): Error {
  if (!isCode(code)) return fail('request.invalid', { reason: `${detail} (${code})` });
  const fields = (errors ?? []).map((field) => `${field.pointer} ${field.detail}`);
  if (code !== 'request.invalid' || fields.length === 0) return new QuorumshiftError(code, details);
  return new QuorumshiftError(code, { reason: fields.join('; ') });
}

function isCode(code: string): code is ErrorCode {
  return Object.hasOwn(errorRegistry, code);
}
