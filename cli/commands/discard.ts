/** `quorumshift discard`: removes fences that no record on this machine needs any more. */
import type { Command } from 'commander';

import { discardFences } from '../../storage/binding/discard-fence.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer } from '../../storage/node-file-layer.ts';
import { addInstanceOptions, instanceUris, type InstanceOptions } from '../instance-options.ts';
import { outputOption, print, stateDirOption, type OutputFormat } from '../output.ts';

interface DiscardOptions extends InstanceOptions {
  readonly output: OutputFormat;
  readonly stateDir: string;
}

export function addDiscard(program: Command): void {
  const command = program
    .command('discard')
    .description('remove the fences at a place that no record needs: a target that was rolled back')
    .argument('[instance]', 'short URI, such as rocksdb:///data/b')
    .addOption(stateDirOption())
    .addOption(outputOption())
    .addHelpText('after', '\nExample:\n  quorumshift discard rocksdb:///data/b');
  addInstanceOptions(command).action(discard);
}

async function discard(short: string | undefined, options: DiscardOptions): Promise<void> {
  const families = defaultFamilies();
  const uris = instanceUris(families, short, options);
  const { stateDir } = options;
  const removed = await discardFences({ families, files: nodeFileLayer, stateDir, uris });
  print(options.output, { t: 'discarded', instance: uris.log, fences: removed }, () =>
    removed.length === 0
      ? `no fence stands at ${uris.log}`
      : `removed the fences at ${removed.join(', ')}`,
  );
}
