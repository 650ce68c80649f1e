/**
 * Whether everything that a rollout needs is there: server, namespace, search attributes, workers,
 * and the agents of the machines. Changes nothing; each problem has its remedy.
 */
import { isGrpcServiceError, type Client } from '@temporalio/client';
import proto from '@temporalio/proto';

import type { MachineAnswer } from '../activities/contract.ts';
import { hasCode, messageOf } from '../core/errors.ts';
import { contractVersion, controlTaskQueue, storeTaskQueue } from '../core/ids.ts';
import { searchAttributeNames } from '../core/search-attributes.ts';
import type { Asked } from '../workflows/read-machines.ts';
import { MachineClient } from './machine-client.ts';

export interface HealthCheck {
  readonly check: string;
  readonly ok: boolean;
  readonly measured: string;
  /** Empty when ok. */
  readonly remedy: string;
}

/** A machine that an inventory names. */
export interface ExpectedMachine {
  readonly host: string;
  /** Null: whichever agent answers. */
  readonly agentId: string | null;
}

/** A worker polls again after a minute at the latest; one that is gone stays listed for five. */
const freshMs = 90_000;

const askTimeoutMs = 5_000;

/** Audit lines and windows are told by clocks; nothing else rests on them. */
const clockLimitMs = 2_000;

const { IndexedValueType, TaskQueueType } = proto.temporal.api.enums.v1;
const queueTypes = {
  workflow: TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
  activity: TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
} as const;

export class HealthChecks {
  readonly #client: Client;
  readonly #version: string;

  /** `version` is this release's: agents are held against it. */
  constructor(options: { readonly client: Client; readonly version: string }) {
    this.#client = options.client;
    this.#version = options.version;
  }

  /** In the order in which they are to be mended; later ones are left out where they cannot be. */
  async run(machines: readonly ExpectedMachine[]): Promise<HealthCheck[]> {
    const server = await this.#server();
    const namespace = await this.#namespace();
    if (!server.ok || !namespace.ok) return [server, namespace];
    const control = await this.#workers('control workers', controlTaskQueue, 'workflow');
    const store = await this.#workers('store worker', storeTaskQueue, 'activity');
    const checks = [server, namespace, await this.#searchAttributes(), control, store];
    if (machines.length === 0 || !control.ok) return checks;
    return [...checks, ...(await this.#machines(machines))];
  }

  async #server(): Promise<HealthCheck> {
    const check = 'Temporal server';
    const info = await this.#ask(() => this.#client.connection.workflowService.getSystemInfo({}));
    if (typeof info !== 'string') return good(check, `version ${info.serverVersion}`);
    return bad(check, info, 'See its own log; the address is TEMPORAL_ADDRESS, or --address.');
  }

  async #namespace(): Promise<HealthCheck> {
    const { namespace } = this.#client.options;
    const check = `namespace "${namespace}"`;
    const found = await this.#ask(() =>
      this.#client.connection.workflowService.describeNamespace({ namespace }),
    );
    if (typeof found === 'string') {
      return bad(check, found, `temporal operator namespace create --namespace ${namespace}`);
    }
    const seconds = Number(found.config?.workflowExecutionRetentionTtl?.seconds ?? 0);
    return good(check, `keeps what has ended for ${Math.round(seconds / 86_400)} days`);
  }

  async #searchAttributes(): Promise<HealthCheck> {
    const check = 'search attributes';
    const { namespace } = this.#client.options;
    const answer = await this.#ask(() =>
      this.#client.connection.operatorService.listSearchAttributes({ namespace }),
    );
    if (typeof answer === 'string') {
      return bad(check, answer, 'Ask the administrator of the server; nothing rests on them.');
    }
    const present: Readonly<Record<string, unknown>> = answer.customAttributes ?? {};
    const wrong = searchAttributeNames.filter(
      (name) => name in present && present[name] !== IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    );
    const missing = searchAttributeNames.filter((name) => !(name in present));
    if (wrong.length > 0) {
      return bad(check, `no Keyword: ${wrong.join(', ')}`, 'They must be of type Keyword.');
    }
    if (missing.length === 0) return good(check, `all ${searchAttributeNames.length} are there`);
    const names = missing.map((name) => `--name ${name} --type Keyword`).join(' ');
    const command = `temporal operator search-attribute create --namespace ${namespace} ${names}`;
    return bad(check, `missing: ${missing.join(', ')}`, command);
  }

  async #workers(
    check: string,
    taskQueue: string,
    kind: keyof typeof queueTypes,
  ): Promise<HealthCheck> {
    const remedy =
      kind === 'workflow'
        ? 'Start "quorumshift control", or "quorumshift dev".'
        : 'Start "quorumshift control --config <file>" on the store\'s machine, or "dev".';
    const { namespace } = this.#client.options;
    const answer = await this.#ask(() =>
      this.#client.connection.workflowService.describeTaskQueue({
        namespace,
        taskQueue: { name: taskQueue },
        taskQueueType: queueTypes[kind],
      }),
    );
    if (typeof answer === 'string') return bad(check, answer, remedy);
    const seen = (answer.pollers ?? []).filter(({ lastAccessTime }) => {
      const ms = Number(lastAccessTime?.seconds ?? 0) * 1000;
      return Date.now() - ms < freshMs;
    });
    if (seen.length === 0) return bad(check, `nobody polls "${taskQueue}"`, remedy);
    const names = seen.map(({ identity }) => identity ?? '').join(', ');
    return good(check, `${seen.length} at "${taskQueue}": ${names}`);
  }

  async #machines(machines: readonly ExpectedMachine[]): Promise<HealthCheck[]> {
    const expected = new Map(machines.map((machine) => [machine.host, machine]));
    const beganMs = Date.now();
    let asked: Asked<MachineAnswer>[];
    try {
      asked = await new MachineClient(this.#client).machines([...expected.keys()]);
    } catch (error) {
      if (!hasCode(error, 'control.no-worker')) throw error;
      return [bad('control workers answer', error.message, error.definition.remedy)];
    }
    const between = { beganMs, endedMs: Date.now() };
    return asked.flatMap(({ host, answer, problem }) => {
      if (answer !== null) {
        return this.#machine(expected.get(host) ?? { host, agentId: null }, answer, between);
      }
      const remedy = `Start "quorumshift agent" there, with "host": "${host}" in its configuration.`;
      return [bad(`agent of ${host}`, problem, remedy)];
    });
  }

  #machine(
    { host, agentId }: ExpectedMachine,
    answer: MachineAnswer,
    between: { readonly beganMs: number; readonly endedMs: number },
  ): HealthCheck[] {
    const { min, max } = answer.contractVersions;
    const checks = [
      holds(agentId === null || agentId === answer.agentId, {
        check: `agent of ${host}`,
        measured: `answers as ${answer.agentId}`,
        remedy: `The inventory names ${agentId ?? ''}: was the machine cloned, or made anew?`,
      }),
      holds(min <= contractVersion && contractVersion <= max, {
        check: `contract version of ${host}`,
        measured: `${min} to ${max}, here ${contractVersion}`,
        remedy: 'Upgrade the older of both.',
      }),
      holds(answer.version === this.#version, {
        check: `release of ${host}`,
        measured: `${answer.version}, here ${this.#version}`,
        remedy: 'Upgrade the older of both; releases of one contract version work together.',
      }),
      clockCheck(host, answer.nowMs, between),
    ];
    const found = answer.findings.map(({ check, ok, measured, remedy }) =>
      holds(ok, { check: `${check} of ${host}`, measured, remedy }),
    );
    return [...checks, ...found];
  }

  /** What the server answers, or what it refused, in words. */
  async #ask<Answer>(call: () => Promise<Answer>): Promise<Answer | string> {
    try {
      return await this.#client.withDeadline(Date.now() + askTimeoutMs, call);
    } catch (error) {
      if (isGrpcServiceError(error)) return error.details || error.message;
      return messageOf(error);
    }
  }
}

/** The agent's clock was read between two readings of this one. */
function clockCheck(
  host: string,
  nowMs: number,
  { beganMs, endedMs }: { readonly beganMs: number; readonly endedMs: number },
): HealthCheck {
  const behind = Math.max(0, beganMs - nowMs);
  const ahead = Math.max(0, nowMs - endedMs);
  const away = ahead > 0 ? `at least ${ahead} ms ahead` : `at least ${behind} ms behind`;
  const within = `no more than ${endedMs - beganMs} ms from this one`;
  return holds(behind + ahead < clockLimitMs, {
    check: `clock of ${host}`,
    measured: behind + ahead === 0 ? within : `${away} of this one`,
    remedy: 'Let both follow one time server (NTP).',
  });
}

function holds(ok: boolean, given: Omit<HealthCheck, 'ok'>): HealthCheck {
  return { ...given, ok, remedy: ok ? '' : given.remedy };
}

function good(check: string, measured: string): HealthCheck {
  return { check, ok: true, measured, remedy: '' };
}

function bad(check: string, measured: string, remedy: string): HealthCheck {
  return { check, ok: false, measured, remedy };
}
