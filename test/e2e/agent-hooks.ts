/** Changes the hooks in an agent's configuration; the agent reads it when it is started anew. */
import { writeFile } from 'node:fs/promises';

import type { AgentConfig, HookName } from '../../schemas/agent-config.ts';
import { readAgentConfig } from '../../worker/agent-configuration.ts';

export type Hook = AgentConfig['hooks'][HookName];

/** @returns the hook as it was */
export async function changeHook(
  file: string,
  name: HookName,
  change: (before: Hook) => Hook,
): Promise<Hook> {
  const config = await readAgentConfig(file);
  const before = config.hooks[name];
  config.hooks[name] = change(before);
  await writeFile(file, JSON.stringify(config));
  return before;
}

/** The hook, which fails on the way forward of the migration that `broken` names. */
export function failingWhere(broken: string) {
  return (hook: Hook): Hook => {
    if (hook === 'none') throw new Error('there is no such hook');
    const isBroken = `[ "$(cat '${broken}')" = "$QUORUMSHIFT_MIGRATION" ]`;
    const script = `if ${isBroken} && [ "$QUORUMSHIFT_DIRECTION" = forward ]; then exit 1; fi`;
    return { ...hook, exec: ['/bin/sh', '-c', `${script}; exec "$0" "$@"`, ...hook.exec] };
  };
}
