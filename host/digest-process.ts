/**
 * A process of its own that opens an instance as a start would, reads all of it back, and prints
 * its digest: what restart-check.ts runs.
 */
import { QuorumshiftError, messageOf } from '../core/errors.ts';
import { defaultFamilies } from '../storage/families/registry.ts';
import { digestInstance } from '../storage/equivalence/state-digest.ts';
import { nodeFileLayer } from '../storage/node-file-layer.ts';
import type { InstanceUris } from '../storage/contracts.ts';

// It ends with the host that asked: what it holds open would be in the way of the next one.
process.stdin.once('end', () => process.kill(process.pid, 'SIGKILL'));
process.stdin.resume();
process.stdin.unref();

try {
  process.stdout.write(await digestOf(JSON.parse(process.argv[2] ?? '') as InstanceUris));
} catch (error) {
  const code = error instanceof QuorumshiftError ? `${error.code}: ` : '';
  process.stderr.write(code + messageOf(error));
  process.exitCode = 1;
}

async function digestOf(uris: InstanceUris): Promise<string> {
  const instance = await defaultFamilies().open(uris, 'read-write', { files: nodeFileLayer });
  try {
    return (await digestInstance(instance)).root;
  } finally {
    await instance.close();
  }
}
