/**
 * A storage host that is killed with -9 just before it renames something. Arguments: its
 * configuration, and the path that is to be renamed.
 */
import { StorageHost } from '../../host/storage-host.ts';
import { readConfiguration } from '../../schemas/configuration-file.ts';
import { hostConfigSchema } from '../../schemas/host-config.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import type { FileLayer } from '../../storage/file-layer.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';

const [, , file = '', fatal = ''] = process.argv;

const files: FileLayer = {
  ...nodeFileLayer,
  rename: async (from, to) => {
    if (from === fatal) process.kill(process.pid, 'SIGKILL');
    await nodeFileLayer.rename(from, to);
  },
};

const config = await readConfiguration(file, hostConfigSchema);
const log = (line: string) => void process.stderr.write(`${line}\n`);
await StorageHost.start({ config, files, families: defaultFamilies(), log });
log('the host that will be killed is ready');
