/** Changes the hooks in an agent's configuration; the agent reads it when it is started anew. */
import { readFile, writeFile } from 'node:fs/promises';

interface AgentFile {
  readonly hooks: Record<string, unknown>;
}

/** @returns the hook as it was */
export async function changeHook(
  file: string,
  hook: string,
  change: (before: unknown) => unknown,
): Promise<unknown> {
  const config = JSON.parse(await readFile(file, 'utf8')) as AgentFile;
  const before = config.hooks[hook];
  config.hooks[hook] = change(before);
  await writeFile(file, JSON.stringify(config));
  return before;
}

/** The hook, which fails on the way forward of the migration that `broken` names. */
export function failingWhere(broken: string) {
  return (hook: unknown) => {
    const { exec } = hook as { readonly exec: readonly string[] };
    const isBroken = `[ "$(cat '${broken}')" = "$QUORUMSHIFT_MIGRATION" ]`;
    const script = `if ${isBroken} && [ "$QUORUMSHIFT_DIRECTION" = forward ]; then exit 1; fi`;
    return { ...(hook as object), exec: ['/bin/sh', '-c', `${script}; exec "$0" "$@"`, ...exec] };
  };
}
