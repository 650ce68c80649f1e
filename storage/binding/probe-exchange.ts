import { randomUUID } from 'node:crypto';
import { dirname, join } from 'node:path';

import { fail } from '../../core/errors.ts';
import type { FileLayer } from '../file-layer.ts';
import { isErrno, removeTree } from '../files.ts';

/**
 * Tries an exchange of a file and a directory in `directory`, or where it is absent in its nearest
 * ancestor, on whose file system it will be made. Leaves nothing behind.
 * @throws `io.exchange-unsupported`; Node's errors where nothing can be made
 */
export async function probeExchange(files: FileLayer, directory: string): Promise<void> {
  if ((await files.stat(directory)) === null && dirname(directory) !== directory) {
    return probeExchange(files, dirname(directory));
  }
  const probe = join(directory, `.quorumshift-probe-${randomUUID()}`);
  const [file, folder] = [`${probe}-file`, `${probe}-directory`];
  try {
    await (await files.open(file, 'create-exclusive')).close();
    await files.makeDirectory(folder);
    await files.exchange(file, folder);
    if ((await files.stat(file))?.kind !== 'directory') {
      throw fail('io.exchange-unsupported', { path: directory, reason: 'it had no effect' });
    }
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error;
    throw fail('io.exchange-unsupported', { path: directory, reason: 'EPERM' }, { cause: error });
  } finally {
    await removeTree(files, file);
    await removeTree(files, folder);
  }
}
