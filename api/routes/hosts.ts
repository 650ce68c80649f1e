/** Machines and their agents: what the inventory says of them, and what they say themselves. */
import { hostListSchema, hostParamsSchema, hostSchema } from '../../schemas/http/host.ts';
import { answer, reader, type ApiApp, type ApiContext } from '../context.ts';

const tags = ['hosts'];

export function addHosts(app: ApiApp, { clients, store }: ApiContext): void {
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
        summary: 'What the agent of a machine says, and which replicas it has',
        operationId: 'getHost',
        params: hostParamsSchema,
        response: { 200: hostSchema },
      },
    },
    async (request) => {
      const { host } = request.params;
      const { machines } = clients(reader);
      const [[seen], [hosted], members] = await Promise.all([
        machines.machines([host]),
        machines.replicas([host]),
        membersOf(),
      ]);
      return answer({
        host,
        agent: seen?.answer ?? null,
        problem: seen?.problem ?? hosted?.problem ?? null,
        replicas: hosted?.answer ?? null,
        declared: members
          .filter((member) => member.host === host)
          .map(({ cluster, member }) => ({ cluster, member })),
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
