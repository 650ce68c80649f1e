/**
 * A start whose policy asks nobody is itself the approval of its cutovers: it takes the role that
 * approves, whatever the route's. A plan changes nothing, and takes the route's alone.
 */
import { fail } from '../core/errors.ts';
import type { MigrationInput } from '../schemas/migration.ts';
import type { RolloutPolicy } from '../schemas/rollout-policy.ts';
import { allows } from './authentication.ts';
import type { Asker } from './changes.ts';

const required = 'approve';

type Approval = MigrationInput['policy']['approval'] | RolloutPolicy['approval'];

/**
 * @param asksNobody what the policy may say, so that at least one cutover waits for nobody
 * @throws `auth.approval`
 */
export function requireApprover(
  { role }: Pick<Asker, 'role'>,
  start: {
    /** `start the migration of kv/n1`. */
    readonly action: string;
    readonly approval: Approval;
    readonly asksNobody: readonly Approval[];
  },
): void {
  const { action, approval, asksNobody } = start;
  if (!asksNobody.includes(approval) || allows(role, required)) return;
  const setting = `policy.approval "${approval}"`;
  throw fail('auth.approval', { action, setting, required, actual: role });
}
