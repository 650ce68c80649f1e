/** The findings of a preflight, one check after another; what fails says what to do. */
import { QuorumshiftError, messageOf } from '../core/errors.ts';
import type { Finding } from './contract.ts';

/** Measures and notes; whether it is as it must be. A failure of `measure` is the finding. */
export type Check = (
  name: string,
  limit: string,
  measure: () => Promise<string>,
) => Promise<boolean>;

export function gatherFindings(): { readonly findings: readonly Finding[]; readonly check: Check } {
  const findings: Finding[] = [];
  return {
    findings,
    check: async (name, limit, measure) => {
      const found = await finding(name, limit, measure);
      findings.push(found);
      return found.ok;
    },
  };
}

/** What to do where a check itself refuses, rather than what it calls. */
const remedies: Readonly<Record<string, string>> = {
  'places durable': 'name directories: local, rocksdb or sqlite',
  'target empty':
    'choose an empty place; "import --discard" and "discard" remove what an import or a rolled-back migration left there',
  'hooks configured':
    'configure them for the replica in the agent’s configuration; "replace" puts the program in place',
  'instance present': 'name its primary as the source ("status --local" shows it)',
  'replica free':
    'take its primary as the source ("status --local" shows it); a migration that owns it must end first',
  'state consistent':
    'do not start the replica on it: a node would refuse it, or lose something; restore it from its peers or a backup, or choose a target whose limits hold it',
  'free space': 'free some, or choose a target on another disk',
};

async function finding(
  check: string,
  limit: string,
  measure: () => Promise<string>,
): Promise<Finding> {
  try {
    return { check, ok: true, measured: await measure(), limit, remedy: '' };
  } catch (error) {
    const measured = messageOf(error);
    const known = error instanceof QuorumshiftError;
    const remedy = known ? error.definition.remedy : (remedies[check] ?? 'mend it first');
    const code = known && { code: error.code };
    return { check, ok: false, measured: measured.slice(0, 500), limit, remedy, ...code };
  }
}
