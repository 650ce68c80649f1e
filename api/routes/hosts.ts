/** Machines and their agents: what the inventory says, and who asks Temporal for their work. */
import type { Client } from '@temporalio/client';
import { optionalTsToDate } from '@temporalio/common/lib/time.js';

import { hostControlTaskQueue, hostTaskQueue } from '../../core/ids.ts';
import { hostListSchema, hostParamsSchema, hostSchema } from '../../schemas/http/host.ts';
import { answer, type ApiApp, type ApiContext } from '../context.ts';

const tags = ['hosts'];

/** `temporal.api.enums.v1.TaskQueueType`. */
const activityQueue = 2;

export function addHosts(app: ApiApp, { temporal, store }: ApiContext): void {
  app.get(
    '/v1/hosts',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'List the machines of the present inventory',
        operationId: 'listHosts',
        response: { 200: hostListSchema },
      },
    },
    async () => {
      const members = await membersOf();
      const hosts = [...new Set(members.map(({ host }) => host))].toSorted();
      return {
        items: hosts.map((host) => {
          const here = members.filter((member) => member.host === host);
          return { host, agentId: here[0]?.agentId ?? null, members: here.length };
        }),
      };
    },
  );
  app.get(
    '/v1/hosts/:host',
    {
      config: { role: 'view' },
      schema: {
        tags,
        summary: 'Which agent asks for the work of a machine, and which members lie there',
        description: 'A machine that nobody has heard of has neither.',
        operationId: 'getHost',
        params: hostParamsSchema,
        response: { 200: hostSchema },
      },
    },
    async (request) => {
      const { host } = request.params;
      const [steps, control, members] = await Promise.all([
        pollers(temporal, hostTaskQueue(host)),
        pollers(temporal, hostControlTaskQueue(host)),
        membersOf(),
      ]);
      const here = members.filter((member) => member.host === host);
      return answer({
        host,
        steps,
        control,
        members: here.map(({ cluster, member }) => ({ cluster, member })),
      });
    },
  );

  async function membersOf() {
    const found = await store.inventories.current();
    return (found?.inventory.clusters ?? []).flatMap(({ cluster, members }) =>
      members.map(({ member, host, agentId }) => ({ cluster, member, host, agentId })),
    );
  }
}

async function pollers(temporal: Client, taskQueue: string) {
  const found = await temporal.workflowService.describeTaskQueue({
    namespace: temporal.options.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: activityQueue,
  });
  return (found.pollers ?? []).map(({ identity, lastAccessTime }) => ({
    identity: identity ?? '',
    lastSeenAt: optionalTsToDate(lastAccessTime)?.toISOString() ?? null,
  }));
}
