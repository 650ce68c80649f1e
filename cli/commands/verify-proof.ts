/** `quorumshift verify --proof`: what was proven once, held against what lies there now. */
import { fail } from '../../core/errors.ts';
import type { Proof } from '../../schemas/proof.ts';
import { urisBehindFences } from '../../storage/binding/behind-fence.ts';
import type { InstanceUris } from '../../storage/contracts.ts';
import { checkProof, type ProofVerdict } from '../../storage/equivalence/check-proof.ts';
import { readProof } from '../../storage/equivalence/proof.ts';
import { defaultFamilies } from '../../storage/families/registry.ts';
import { nodeFileLayer as files } from '../../storage/node-file-layer.ts';
import { print, type OutputFormat } from '../output.ts';
import { withProgress } from '../progress.ts';

/** What is said of a side that cannot be looked at. */
type SideVerdict = ProofVerdict | 'deleted';

const said: Readonly<Record<SideVerdict, string>> = {
  'as-proven': 'as it was proven',
  'log-as-proven': 'its log up to the cut is as it was proven; it has been written since',
  trimmed: 'cannot be said: entries of the cut have been dropped behind a snapshot since',
  'log-differs': 'its log up to the cut is not what was proven: replaced by a leader, or damaged',
  deleted: 'deleted since',
};

/**
 * @throws `state.different` when a side differs from what was proven, `usage.invalid` when the file
 *   is none, `data.corrupt`, `instance.locked` while a process holds an instance
 */
export async function verifyProof(file: string, output: OutputFormat): Promise<void> {
  const proof = await readProof(files, file);
  if (proof === null) throw fail('usage.invalid', { reason: `there is no file ${file}` });
  const source = await verdictOn(proof, proof.source.uris);
  const target = await verdictOn(proof, proof.target.uris);
  const { digest } = proof.source;
  const { firstIndex, lastIndex } = proof.cut;
  print(output, { t: 'proof', digest, cut: proof.cut, source, target }, () =>
    [
      `proof   ${digest} of ${firstIndex}..${lastIndex}, made ${proof.createdAt}`,
      `source  ${proof.source.uris.log}: ${said[source]}`,
      `target  ${proof.target.uris.log}: ${said[target]}`,
    ].join('\n'),
  );
  if (source !== 'log-differs' && target !== 'log-differs') return;
  const { log } = source === 'log-differs' ? proof.source.uris : proof.target.uris;
  throw fail('state.different', { summary: `"${log}": ${said['log-differs']}` });
}

async function verdictOn(proof: Proof, uris: InstanceUris): Promise<SideVerdict> {
  const families = defaultFamilies();
  const places = await urisBehindFences({ files, families }, uris);
  if (places === null) return 'deleted';
  const instance = await families.open(places, 'read-only', { files });
  try {
    return await withProgress('verify', (options) => checkProof(proof, instance, options));
  } finally {
    await instance.close();
  }
}
