/** The agent's uuid: made once, kept in the state directory, named by every activity. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';

import { fail } from '../core/errors.ts';
import type { FileLayer } from '../storage/file-layer.ts';
import { makeDirectories, readWhole, writeDurably } from '../storage/files.ts';

const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The persisted uuid, made durable before it is first used.
 * @throws `config.invalid` when the file holds something else
 */
export async function agentIdentity(files: FileLayer, stateDir: string): Promise<string> {
  const path = join(stateDir, 'agent-id');
  const bytes = await readWhole(files, path, 1024);
  if (bytes === null) {
    const made = randomUUID();
    await makeDirectories(files, stateDir);
    await writeDurably(files, path, Buffer.from(`${made}\n`));
    return made;
  }
  const id = bytes.toString('utf8').trim();
  if (uuidPattern.test(id)) return id;
  throw fail('config.invalid', { file: path, reason: 'it must hold one uuid' });
}
