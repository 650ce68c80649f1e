/** Where downloaded and built programs are kept between runs, outside any checkout. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Absolute directory: `$QUORUMSHIFT_CACHE`, or `~/.cache/quorumshift`. Not created. */
export function productCache(env: NodeJS.ProcessEnv): string {
  return env['QUORUMSHIFT_CACHE'] ?? join(env['HOME'] ?? homedir(), '.cache', 'quorumshift');
}
