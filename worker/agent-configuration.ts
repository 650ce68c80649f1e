/** Reads the agent's configuration file. */
import { agentConfigSchema, type AgentConfig } from '../schemas/agent-config.ts';
import { readConfiguration } from '../schemas/configuration-file.ts';

export const defaultConfigFile = '/etc/quorumshift/agent.json';

/** @throws `config.invalid` saying which field is wrong and how */
export function readAgentConfig(file: string): Promise<AgentConfig> {
  return readConfiguration(file, agentConfigSchema);
}
