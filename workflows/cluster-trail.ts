/**
 * What a cluster's rollout writes into the audit trail: wishes, and its own decisions. A line's id
 * follows from what it says, so that one that is asked for again, by whichever run of the rollout,
 * is written once. What puts something at risk has its line durable before (I18); what only holds
 * still or goes back does not wait for the store: the member's own journal has it first.
 */
import { condition, patched, workflowInfo } from '@temporalio/workflow';

import type { ProofName } from '../activities/contract.ts';
import { canonicalJson } from '../core/canonical-json.ts';
import { clusterWorkflowId } from '../core/ids.ts';
import { rolloutText } from '../core/rollout-text.ts';
import type { ClusterState } from './cluster-state.ts';
import type { ClusterWaits } from './cluster-waits.ts';
import { memberInput, memberInputDigest, memberMigrationId } from './member-input.ts';
import type { Wish } from './messages.ts';
import type { MigrateClusterRequest, RolloutOutcome } from './rollout-messages.ts';
import { sha256Text } from './sha256-text.ts';
import { StoreRecords, storeWaiting } from './store-records.ts';
import type { TrackedMember } from './tracked-members.ts';

/** A line that takes longer than this rests on a look at the group that is too old by then. */
const freshMs = 2_000;

/** While the store is away, what else there is to be done is looked at again after this. */
const awayLookMs = 60_000;

interface Line {
  /** Absent: the rollout itself. */
  readonly by?: string;
  readonly action: string;
  readonly reason: string;
  /** Besides the rollout's own. */
  readonly digests?: readonly string[];
  /** Tells it from another line that says the same. */
  readonly key?: string;
}

export class ClusterTrail {
  readonly #state: ClusterState;
  readonly #waits: ClusterWaits;
  readonly #records: StoreRecords<ClusterState> | null;
  /** Of each line that was asked for in this run, by its id, whether it is durable. */
  readonly #lines = new Map<string, boolean>();

  constructor(state: ClusterState, waits: ClusterWaits) {
    this.#state = state;
    this.#waits = waits;
    // Histories of before have no lines.
    this.#records = patched('audit-trail') ? new StoreRecords(state, true) : null;
  }

  /** Writes lines in their order, until it is over and all are durable. */
  async write(isOver: () => boolean): Promise<void> {
    await this.#records?.audit(isOver);
  }

  /** False in a history of before: each wish has its effect at once. */
  get isKept(): boolean {
    return this.#records !== null;
  }

  /** Nothing is left to be written. */
  get isWritten(): boolean {
    return this.#state.decisions.length === 0;
  }

  /** The first line of the first run: who began what, how carefully, and where. */
  begin({ rollout: given }: MigrateClusterRequest): void {
    const { rollout, coordinator } = this.#state;
    const { rolloutId, members, policy, requestedBy } = rollout;
    const on = members.map(({ member, host }) => `${member} on ${host}`).join(', ');
    const by = coordinator === null ? '' : ` for ${coordinator}`;
    this.note({
      by: requestedBy,
      action: 'start',
      reason: `${rolloutId}${by}: ${on}; policy ${canonicalJson(policy)}`,
      digests: given.kind === 'snapshot' ? [given.snapshot] : [],
      key: workflowInfo().firstExecutionRunId,
    });
  }

  end(outcome: RolloutOutcome, why: string | null): void {
    const reason = [this.#state.rollout.rolloutId, outcome, ...(why === null ? [] : [why])];
    const key = workflowInfo().firstExecutionRunId;
    this.note({ action: 'end', reason: reason.join(': '), key });
  }

  mayBegin(member: TrackedMember): Promise<boolean> {
    const { rollout } = this.#state;
    const { spec, step } = member;
    const migrationId = this.#migrationOf(member);
    const digests = [memberInputDigest(memberInput({ rollout, spec, step, migrationId }))];
    return this.#permits({ action: 'begin', reason: this.#textOf(member), digests });
  }

  /**
   * @param proof null: it is to be stopped, and has no proof yet
   * @param endsMs when the window ends that it is granted in; granted in another it is another line
   */
  mayCutOver(member: TrackedMember, proof: ProofName | null, endsMs: number): Promise<boolean> {
    const text = this.#textOf(member);
    const key = endsMs < Infinity && patched('grant-of-window') ? { key: `${endsMs}` } : {};
    if (proof === null) return this.#permits({ action: 'stop-member', reason: text, ...key });
    const { digest, generation } = proof;
    const reason = `${text}: proof of generation ${generation}`;
    return this.#permits({ action: 'cutover', reason, digests: [digest], ...key });
  }

  /** @param waits false: for a member that goes back */
  async mayTransfer(
    given: { readonly from: string; readonly to: string; readonly term: string },
    waits: boolean,
  ): Promise<boolean> {
    const { from, to, term } = given;
    const line = { action: 'transfer-leadership', reason: `${from} to ${to}, in term ${term}` };
    if (waits) return this.#permits(line);
    this.note(line);
    return true;
  }

  mayFinalize(members: readonly TrackedMember[]): Promise<boolean> {
    const reason = members.map((member) => this.#textOf(member)).join(', ');
    return this.#permits({ action: 'finalize', reason });
  }

  takesBack(member: TrackedMember, { by, reason }: Wish): void {
    this.note({ by, action: 'take-back', reason: `${this.#textOf(member)}: ${reason}` });
  }

  /** A member failed: nothing else begins before an operator has chosen. */
  stops(member: TrackedMember): void {
    const reason = `${this.#textOf(member)}: ${member.reason ?? ''}`;
    // Another failure of the same migration is another stop.
    const key = `${member.report?.waiting?.sinceMs ?? ''}`;
    this.note({ action: 'stop', reason, key });
  }

  leavesOut(members: readonly TrackedMember[], why: string): void {
    const names = members.map(({ spec }) => spec.member).join(', ');
    this.note({ action: 'leave-out', reason: `${names}: ${why}` });
  }

  /** Written as soon as the store takes it; `effect` follows then. */
  note(line: Line, effect: (() => void) | null = null): void {
    if (this.#records === null) {
      effect?.();
      return;
    }
    const { rollout } = this.#state;
    const { by = 'quorumshift', action, reason } = line;
    const id = this.#idOf(line);
    if (this.#lines.has(id)) return;
    this.#lines.set(id, false);
    const subject = clusterWorkflowId(rollout.cluster);
    this.#state.decisions.push({
      entry: { id, by, action, subject, reason, digests: this.#digestsOf(line) },
      effect: () => {
        this.#lines.set(id, true);
        this.#state.version += 1;
        effect?.();
      },
    });
  }

  /**
   * True once the line is durable: at once where it is. False where something else was wished
   * meanwhile, or the store takes so long that what it rests on is to be looked at anew.
   */
  async #permits(line: Line): Promise<boolean> {
    if (this.#records === null) return true;
    const state = this.#state;
    this.note(line);
    const id = this.#idOf(line);
    const isDurable = () => this.#lines.get(id) === true;
    const isWished = () => state.paused || state.abandonWish !== null || state.takeBack.length > 0;
    if (isDurable()) return true;
    if (await condition(() => isDurable() || isWished(), freshMs)) return isDurable();
    await this.#waits.forNews(storeWaiting('it has not answered yet'), awayLookMs);
    return false;
  }

  /** Of all that it says: a line with this id says the same, or the store would not take it. */
  #idOf(line: Line): string {
    const { by = 'quorumshift', action, reason, key = '' } = line;
    const { cluster, rolloutId } = this.#state.rollout;
    const said = [by, action, reason, this.#digestsOf(line), key];
    const hash = sha256Text(canonicalJson(said)).slice(0, 32);
    return `${clusterWorkflowId(cluster)}/${rolloutId}/${hash}`;
  }

  #digestsOf({ digests = [] }: Line): readonly string[] {
    return [sha256Text(rolloutText(this.#state.rollout)), ...digests];
  }

  #migrationOf({ migrationId, step, attempt }: TrackedMember): string {
    const { rolloutId } = this.#state.rollout;
    return migrationId ?? memberMigrationId({ rolloutId, step, attempt });
  }

  #textOf(member: TrackedMember): string {
    return `${member.spec.member} (${this.#migrationOf(member)})`;
  }
}
