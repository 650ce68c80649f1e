/** Which adapter a member has, by the agent's configuration; the only list of their kinds. */
import { replicaText, type ReplicaName } from '../../core/ids.ts';
import type { AdapterConfig, AgentConfig } from '../../schemas/agent-config.ts';
import { execAdapter } from './exec-adapter.ts';
import { httpAdapter } from './http-adapter.ts';
import type { MemberAdapter, MemberAdapters } from './member-adapter.ts';

/** The replica's own adapter, else its cluster's. */
export function configuredAdapters({ clusters, replicas }: AgentConfig): MemberAdapters {
  return (replica) => {
    const own = replicas[replicaText(replica)]?.adapter;
    const config = own ?? clusters[replica.cluster]?.adapter;
    return config === undefined ? null : adapterOf(config, replica);
  };
}

function adapterOf(config: AdapterConfig, replica: ReplicaName): MemberAdapter {
  return config.kind === 'http' ? httpAdapter(config) : execAdapter(config, replica);
}
