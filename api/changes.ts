/**
 * How a change is taken: once for its `Idempotency-Key`, with its line in the audit trail durable
 * before anything is asked of Temporal, and its outcome after. Its operation's id follows from who
 * asked and the key, and goes with the wish: so a call that is repeated after the API was killed in
 * the middle is the same wish to a workflow, and is counted there once.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify';

import type { ControlStore } from '../control/control-store.ts';
import type { Role } from '../control/token-table.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import { fail } from '../core/errors.ts';
import type { OperationAnswer } from '../schemas/http/operation.ts';
import type { Problem } from '../schemas/http/problem.ts';
import { identityOf, principalOf, type Principal } from './authentication.ts';
import { sendProblem } from './problems.ts';

/** What has not ended by then is answered as running, to be asked for as an operation. */
const answerWithinMs = 2_000;

const keyPattern = /^[\x21-\x7e]{1,200}$/;

/** Operations stand in the store under their own ids, whoever asked for them. */
const storedAs = 'operation';

export interface Change {
  /** `migration.pause`. */
  readonly action: string;
  /** `replica/<cluster>/<member>`. */
  readonly subject: string;
  readonly reason?: string | undefined;
  /** False for what changes nothing: a plan. */
  readonly audited?: boolean;
  /** What is to be done; a function where that depends on what is there now. */
  readonly does: Deed | (() => Promise<Deed>);
}

export interface Deed {
  /** What it rests on: an input's digest, a proof's. */
  readonly digests: readonly string[];
  /** Repeated under the same operation's id it must not count twice. */
  run(): Promise<unknown>;
}

/** Who asks for a change, and under which id. */
export interface Asker {
  readonly operationId: string;
  /** Recorded in workflows and in the audit trail. */
  readonly by: string;
  readonly role: Role;
}

interface Taken {
  readonly id: string;
  readonly principal: Principal;
  readonly change: Change;
  readonly createdAt: string;
  readonly log: FastifyBaseLogger;
}

/** What is known of an operation from its beginning on; the store holds it with the key. */
interface OperationPayload {
  readonly action: string;
  readonly subject: string;
  readonly by: string;
  /** SHA-256 of the whole request. */
  readonly request: string;
}

export class Changes {
  readonly #store: ControlStore;
  readonly #problemOf: (error: unknown, instance: string) => Problem;
  readonly #underWay = new Map<string, Promise<OperationAnswer>>();

  constructor(options: {
    readonly store: ControlStore;
    readonly problemOf: (error: unknown, instance: string) => Problem;
  }) {
    this.#store = options.store;
    this.#problemOf = options.problemOf;
  }

  get size(): number {
    return this.#underWay.size;
  }

  /**
   * Takes the change, or answers what the same call has led to. What `make` refuses has not been
   * taken, and its key may be used again.
   * @throws `idempotency.in-progress`, `idempotency.key-reused`
   */
  async take(
    request: FastifyRequest,
    reply: FastifyReply,
    make: (as: Asker) => Change,
  ): Promise<FastifyReply> {
    const principal = principalOf(request);
    const id = operationIdOf(principal, keyOf(request));
    const by = identityOf(principal);
    const change = make({ operationId: id, by, role: principal.role });
    const { action, subject } = change;
    const payload: OperationPayload = { action, subject, by, request: fingerprint(request) };
    const stored = { principal: storedAs, key: id, payload: canonicalJson(payload) };
    const begun = await this.#store.operations.begin(stored);
    if (begun.kind === 'other-payload') throw fail('idempotency.key-reused', { operation: id });
    // The store takes what is old for dead; a plan of a large log may be under way for hours.
    if (begun.kind === 'in-progress' || this.#underWay.has(id)) throw inProgress(id);
    if (begun.kind === 'recorded') return send(reply, parseOperation(begun.body));
    const createdAt = new Date().toISOString();
    const running = this.#run({ id, principal, change, createdAt, log: request.log });
    this.#underWay.set(id, running);
    void running.finally(() => this.#underWay.delete(id)).catch(() => {});
    const answered = new AbortController();
    try {
      const ended = await Promise.race([
        running,
        delay(answerWithinMs, null, { signal: answered.signal }),
      ]);
      return send(reply, ended ?? { ...unended, id, action, subject, by, createdAt });
    } finally {
      answered.abort();
    }
  }

  /** @throws `operation.not-found` */
  async operation(id: string): Promise<OperationAnswer> {
    const found = await this.#store.operations.find({ principal: storedAs, key: id });
    if (found === null) throw fail('operation.not-found', { operation: id });
    if (found.body !== null) return parseOperation(found.body);
    const { action, subject, by } = JSON.parse(found.payload) as OperationPayload;
    const createdAt = new Date(found.begunAt).toISOString();
    return { ...unended, id, action, subject, by, createdAt };
  }

  /** Waits for what is under way, at most so long: a change that goes on is found by its key. */
  async settle(timeoutMs: number): Promise<void> {
    const all = Promise.allSettled(this.#underWay.values());
    await Promise.race([all, delay(timeoutMs, null, { ref: false })]);
  }

  /** Never rejects for what the change itself threw: that is its outcome. */
  async #run({ id, principal, change, createdAt, log }: Taken): Promise<OperationAnswer> {
    const by = identityOf(principal);
    const { action, subject, reason = '', does } = change;
    const line = { by, role: principal.role, action, subject, reason };
    /** Null until the change is on record, and where it is to be on none. */
    let digests: string[] | null = null;
    let ended: Pick<OperationAnswer, 'state' | 'result' | 'problem'>;
    try {
      const deed = typeof does === 'function' ? await does() : does;
      if (change.audited !== false) {
        digests = [...deed.digests];
        await this.#store.audit.append({ id, ...line, digests });
      }
      const result = toJson(await deed.run());
      ended = { state: 'done', result, problem: null };
    } catch (error) {
      const problem = this.#problemOf(error, id);
      if (problem.status >= 500) log.error({ err: error, operation: id }, problem.detail);
      ended = { state: 'failed', result: null, problem };
    }
    const endedAt = new Date().toISOString();
    const operation = { id, action, subject, by, createdAt, endedAt, ...ended };
    const { problem } = ended;
    if (digests !== null) {
      const outcome = problem === null ? 'done' : `failed: ${problem.code}`;
      // A line of its own for each attempt; without it the change stands all the same.
      await this.#store.audit
        .append({ id: `${id}/${randomUUID()}`, ...line, digests, outcome })
        .catch((error: unknown) => log.error({ err: error, operation: id }, 'no outcome audited'));
    }
    await this.#store.operations.finish(
      { principal: storedAs, key: id },
      { status: problem?.status ?? 202, body: JSON.stringify(operation) },
    );
    return operation;
  }
}

const unended = { state: 'running', endedAt: null, result: null, problem: null } as const;

/** Refused before the body is looked at. @throws `idempotency.key-missing` */
export function requireKey(request: FastifyRequest): void {
  keyOf(request);
}

function keyOf(request: FastifyRequest): string {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string') {
    throw fail('idempotency.key-missing', { actual: 'there is none' });
  }
  if (keyPattern.test(key)) return key;
  const actual = 'it is not 1 to 200 visible ASCII letters';
  throw fail('idempotency.key-missing', { actual });
}

/** In the form of a UUID (version 8: of our own making), as workflows' update ids are. */
function operationIdOf(principal: Principal, key: string): string {
  const hex = createHash('sha256').update(`${principal.id}\n${key}`).digest('hex');
  const parts = [hex.slice(0, 8), hex.slice(8, 12), `8${hex.slice(13, 16)}`];
  return [...parts, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join('-');
}

function fingerprint(request: FastifyRequest): string {
  const { method, params, query, body } = request;
  const route = request.routeOptions.url;
  const whole = canonicalJson({ method, route, params, query, body: body ?? null });
  return createHash('sha256').update(whole).digest('hex');
}

function inProgress(operation: string): Error {
  return fail('idempotency.in-progress', { operation: `/v1/operations/${operation}` });
}

function send(reply: FastifyReply, operation: OperationAnswer): FastifyReply {
  if (operation.problem !== null) return sendProblem(reply, operation.problem);
  return reply.code(202).header('location', `/v1/operations/${operation.id}`).send(operation);
}

function parseOperation(body: string): OperationAnswer {
  return JSON.parse(body) as OperationAnswer;
}

/** As it will be read again. */
function toJson(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value));
}
