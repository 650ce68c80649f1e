/** Instances may lie only under the roots of the agent's configuration, symbolic links resolved. */
import { dirname, join, sep } from 'node:path';

import { fail } from '../core/errors.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import type { AgentContext } from './agent-context.ts';

/** @throws `path.not-allowed` */
export async function checkRoots(
  context: AgentContext,
  instances: readonly InstanceUris[],
): Promise<void> {
  const { files, families, config } = context;
  const roots = await Promise.all(config.roots.map((root) => realPathOf(files, root)));
  for (const uris of instances) {
    for (const place of families.familyOf(uris).places(uris)) {
      const real = await realPathOf(files, place.path);
      if (roots.some((root) => real === root || real.startsWith(withSeparator(root)))) continue;
      throw fail('path.not-allowed', { path: real, roots: config.roots.join(', ') });
    }
  }
}

/** The path with links resolved as far as it exists. */
async function realPathOf(files: FileLayer, path: string): Promise<string> {
  if ((await files.stat(path)) !== null) return files.realPath(path);
  const parent = dirname(path);
  if (parent === path) return path;
  return join(await realPathOf(files, parent), path.slice(withSeparator(parent).length));
}

function withSeparator(path: string): string {
  return path.endsWith(sep) ? path : path + sep;
}
