/**
 * The steps of a live migration. The storage host does what they say, and writes what changes
 * primary or mirror into the record; each looks at the record first and does what is missing.
 */
import { join } from 'node:path';

import { hasCode } from '../core/errors.ts';
import type { Proof } from '../host/proto/gen/storage_host_admin.ts';
import type { BindingRecord, MigrationState } from '../schemas/binding-record.ts';
import { isSame } from '../storage/binding/parking.ts';
import type { StepEnding } from '../storage/binding/step-guard.ts';
import type { InstanceUris } from '../storage/contracts.ts';
import { readProof } from '../storage/equivalence/proof.ts';
import { askForBulk, askHost, unlessLost } from './ask-storage-host.ts';
import type { Step, StepBody } from './step-runner.ts';
import { checkProof } from './swap.ts';

/** A cut that was rewritten while it was read is read again; a leader changes now and then. */
const cutsBeforeGivingUp = 10;

/** Bootstraps the mirror and begins dual write; what a failed one left at its places goes first. */
export const beginMirror: StepBody = async (step) => {
  const { record, migration } = step.guard;
  if (record.mirror === null && record.former !== null) {
    await askHost(step, (client, asked) => client.drop(asked));
  }
  const { uris } = migration.target;
  await askForBulk(step, (client, asked, onProgress) =>
    client.mirror({ ...asked, target: onWire(uris), bytesPerSecond: null }, onProgress),
  );
  return { outcome: 'done', info: { mirror: uris.log } };
};

/** Both sides of the pair are read back and compared while it is written. */
export const validatePair: StepBody = (step) =>
  unlessLost(step, async () => {
    try {
      return proven(await prove(step, proofAge(step)));
    } catch (error) {
      if (!hasCode(error, 'state.different')) throw error;
      const reason = `validation failed: ${error.message}`;
      if (step.guard.migration.direction === 'back') {
        await askHost(step, (client, asked) => client.drop(asked));
        return { outcome: 'different', info: { reason } };
      }
      return { outcome: 'different', info: { reason }, change: withRollback(step, reason) };
    }
  });

/**
 * After a cutover: the source must have stayed equal to be the way back. One that has failed, or
 * differs, is moved aside, and the state goes back into a fresh instance at its places.
 */
export const validateWayBack: StepBody = async (step) => {
  const ending = await unlessLost(step, async () => {
    try {
      return proven(await prove(step, proofAge(step)));
    } catch (error) {
      if (!hasCode(error, 'state.different')) throw error;
      return { outcome: 'different', info: { reason: error.message } };
    }
  });
  if (ending.outcome === 'done') return ending;
  const aside = await askHost(step, (client, asked) =>
    client.finalize({ ...asked, deletes: false }),
  );
  const info = { ...ending.info, aside: aside.join(', ') };
  return { outcome: ending.outcome, info, change: turnedBack };
};

/** While it soaks: whether the way back is still there, and equal. It changes nothing. */
export const validateInSoak: StepBody = (step) =>
  unlessLost(step, async () => {
    try {
      const { outcome, info } = proven(await prove(step, null));
      return { outcome, info };
    } catch (error) {
      if (!hasCode(error, 'state.different')) throw error;
      return { outcome: 'different', info: { reason: error.message } };
    }
  });

/** The cutover, forward or, in a reversal, back. @throws `proof.stale` without its approval */
export const cutOver: StepBody = (step) => cutOverTo(step, step.guard.migration.target);

/** Back to the source, which stayed the mirror. */
export const cutBack: StepBody = (step) => cutOverTo(step, step.guard.migration.source);

async function cutOverTo(step: Step, to: BindingRecord['primary']): Promise<StepEnding> {
  const { record, migration } = step.guard;
  const info = { primary: to.uris.log };
  // An earlier attempt was killed after it.
  if (isSame(record.primary, to)) return { outcome: 'done', info };
  return unlessLost(step, async () => {
    const { proof } = migration;
    const stale = {
      outcome: 'stale',
      info: { reason: 'the proof covers too little by now' },
    } as const;
    if (proof?.generation !== record.generation) return stale;
    if (await isTooOld(step, proof.file)) return stale;
    if (step.phase === 'swap') checkProof(step);
    try {
      const { pauseMs } = await askHost(step, (client, asked) =>
        client.cutOver({ ...asked, digest: proof.digest }),
      );
      return { outcome: 'done', info: { ...info, pauseMs } };
    } catch (error) {
      if (hasCode(error, 'proof.stale')) return stale;
      throw error;
    }
  });
}

/** Gives up what is mirror now: before the cutover the target, after the way back what was it. */
export const dropMirror: StepBody = async (step) => {
  await askHost(step, (client, asked) => client.drop(asked));
  return {
    outcome: 'done',
    info: { dropped: step.guard.record.mirror?.ref.uris.log ?? 'nothing' },
  };
};

/** single(B) is durable before A moves (CUT-8); the host does both. */
export const finalizeLive: StepBody = async (step) => {
  const { deleteSource: deletes } = step.guard.migration.input.policy;
  const retired = await askHost(step, (client, asked) => client.finalize({ ...asked, deletes }));
  return { outcome: 'done', info: { source: deletes ? 'deleted' : retired.join(', ') } };
};

/** Whether the policy asks for a newer proof than the one on record. */
async function isTooOld(step: Step, file: string): Promise<boolean> {
  const { context, store } = step;
  const proofMaxAgeSeconds = proofAge(step);
  if (proofMaxAgeSeconds === null) return false;
  const proof = await readProof(store.files, join(store.directory.proofs, file));
  const madeMs = Date.parse(proof?.createdAt ?? '');
  return !(context.now().getTime() - madeMs <= proofMaxAgeSeconds * 1000);
}

/** How old may be what a cutover rests on; null where the policy does not say. */
function proofAge({ guard }: Step): number | null {
  return guard.migration.input.policy.proofMaxAgeSeconds;
}

/** @param readWithinSeconds as in the admin protocol; null: as the host is configured */
async function prove(step: Step, readWithinSeconds: number | null): Promise<Proof> {
  for (let cut = 1; ; cut += 1) {
    try {
      return await askForBulk(step, (client, asked, onProgress) =>
        client.prove({ ...asked, readWithinSeconds }, onProgress),
      );
    } catch (error) {
      if (!hasCode(error, 'image.source-changed') || cut === cutsBeforeGivingUp) throw error;
    }
  }
}

function proven({ digest, file, firstIndex, lastIndex, generation }: Proof): StepEnding {
  const proof = { digest, file, generation: Number(generation) };
  return {
    outcome: 'done',
    info: { proof: digest, file, firstIndex: String(firstIndex), lastIndex: String(lastIndex) },
    change: (record, migration) => ({ ...record, migration: { ...migration, proof } }),
  };
}

function withRollback(step: Step, reason: string): NonNullable<StepEnding['change']> {
  const rollback = { by: 'quorumshift', reason, at: step.store.now() };
  return (record, migration) => ({
    ...record,
    migration: { ...migration, rollback: migration.rollback ?? rollback },
  });
}

/** Source and target change places: from now on the state moves back. */
function turnedBack(record: BindingRecord, migration: MigrationState): BindingRecord {
  const { source, target, sourceTag, targetTag } = migration;
  return {
    ...record,
    migration: {
      ...migration,
      direction: 'back',
      source: target,
      target: source,
      sourceTag: targetTag,
      targetTag: sourceTag,
      proof: null,
    },
  };
}

function onWire({ log, meta, snapshot, groupId = '' }: InstanceUris) {
  return { log, meta, snapshot, groupId };
}
