/**
 * Preflight of a replacement of the program (mode `binary`): the hooks that it is made of, and a
 * replica that could come back on its storage, as far as that can be told while it runs.
 */
import { hasCode } from '../core/errors.ts';
import { replicaText } from '../core/ids.ts';
import { AdminClient } from '../host/admin-client.ts';
import { checkState } from './state-checks.ts';
import { recordStore, type AgentContext } from './agent-context.ts';
import { checkRoots } from './allowed-roots.ts';
import type { PreflightAnswer } from './contract.ts';
import type { Check } from './findings.ts';
import { hooksOf } from './hook-step.ts';
import { checkRecord, type PreflightRequest } from './record-checks.ts';

/** Without a probe nobody would know that it has come back and rejoined (ROLL-4). */
const neededHooks = ['stop', 'replace', 'start', 'probe'] as const;

type Size = Pick<PreflightAnswer, 'entries' | 'bytes'>;

/** Bytes are 0: none are moved. */
export async function checkReplacement(
  context: AgentContext,
  request: PreflightRequest,
  check: Check,
): Promise<Size> {
  const { input } = request;
  await check('hooks configured', neededHooks.join(', '), async () => {
    const hooks = hooksOf(context, input.replica);
    const absent = neededHooks.filter((hook) => hooks[hook] === 'none');
    if (absent.length > 0) throw new Error(`none for ${absent.join(', ')}`);
    return 'all are';
  });
  const allowed = await check('paths allowed', `under ${context.config.roots.join(', ')}`, () =>
    checkRoots(context, [input.source]).then(() => 'all are'),
  );
  if (!allowed) return { entries: '0', bytes: 0 };
  await checkRecord(context, request, check);
  const { files, directory } = recordStore(context, request);
  const isServed = (await files.stat(directory.lock)) !== null;
  const entries = isServed
    ? await checkServed(context, request, check)
    : await checkPresent(context, request, check);
  return { entries: String(entries), bytes: 0 };
}

/** The storage host stays, and serves the process that comes as it served the one that went. */
async function checkServed(
  context: AgentContext,
  { input }: PreflightRequest,
  check: Check,
): Promise<bigint> {
  let entries = 0n;
  await check('storage host', 'it serves the replica', async () => {
    const { hostAdminSocket: socket } = context.config;
    const { refusal, primary, firstIndex, lastIndex } = await AdminClient.use(
      { socket },
      (client) => client.show(replicaText(input.replica)),
    );
    if (refusal !== '') throw new Error(`it refuses the replica: ${refusal}`);
    entries = lastIndex - firstIndex + 1n;
    return `${primary?.family}, entries ${firstIndex}..${lastIndex}`;
  });
  return entries;
}

/** One that is held is in use by the replica that runs: it has opened it. */
async function checkPresent(
  context: AgentContext,
  { input }: PreflightRequest,
  check: Check,
): Promise<bigint> {
  const { files, families } = context;
  let entries = 0n;
  await check('instance present', 'what a node starts on, or one runs on', async () => {
    const instance = await families
      .open(input.source, 'read-only', { files })
      .catch((error: unknown) => {
        if (hasCode(error, 'instance.locked')) return error;
        throw error;
      });
    if (instance instanceof Error) return `held by ${instance.details['holder'] ?? '?'}`;
    try {
      await checkState(instance, [families.familyOf(input.source)]);
      const { firstIndex, lastIndex } = instance.state();
      entries = lastIndex - firstIndex + 1n;
      return `${instance.family}, entries ${firstIndex}..${lastIndex}`;
    } finally {
      await instance.close();
    }
  });
  return entries;
}
