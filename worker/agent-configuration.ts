/** Reads the agent's configuration file (JSON). */
import { readFile } from 'node:fs/promises';

import { z } from 'zod';

import { fail } from '../core/errors.ts';
import { agentConfigSchema, type AgentConfig } from '../schemas/agent-config.ts';

export const defaultConfigFile = '/etc/quorumshift/agent.json';

/** @throws `config.invalid` saying which field is wrong and how */
export async function readAgentConfig(file: string): Promise<AgentConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw fail('config.invalid', { file, reason: 'it cannot be read' }, { cause });
  }
  return parseAgentConfig(file, text);
}

function parseAgentConfig(file: string, text: string): AgentConfig {
  try {
    const parsed = agentConfigSchema.safeParse(JSON.parse(text));
    if (parsed.success) return parsed.data;
    const reason = z.prettifyError(parsed.error).replaceAll('\n', ' ');
    throw fail('config.invalid', { file, reason });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw fail('config.invalid', { file, reason: `it is no JSON: ${cause.message}` }, { cause });
  }
}
