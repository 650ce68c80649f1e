import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { missing } from '../setup/toolchain.ts';
import type { KillableFleet, Victim } from '../soak/killable-fleet.ts';
import {
  endSubject,
  holdSubjects,
  startSubjects,
  type PhaseSubject,
  type Way,
} from '../soak/phase-subjects.ts';

/**
 * In parts: who waits for a replica that is held here gives up in time, and asks an operator. The
 * reversal's phases by QUORUMSHIFT_LONG=1.
 */
const parts: readonly (readonly Way[])[] = [
  ['forward', 'rollback'],
  ...(process.env['QUORUMSHIFT_LONG'] === '1' ? [['reversal'] as const] : []),
];

describe.skipIf(missing('temporal')).each(parts)(
  'kill -9 at every phase boundary, %s',
  (...ways) => {
    let fleet: KillableFleet;
    let subjects: readonly PhaseSubject[];

    beforeAll(async () => {
      ({ fleet, subjects } = await startSubjects(
        process.env['QUORUMSHIFT_TEMPORAL_BIN'] ?? '',
        ways,
      ));
    });

    afterAll(() => fleet?.close());

    test.each(['control', 'server', 'agent'] as const)(
      'of the %s, with a replica in each phase: each ends as without [OPS-1] [CUT-5] [I9]',
      { timeout: 300_000 },
      async (who) => {
        const held = await holdSubjects(subjects);
        const victims: readonly Victim[] = who === 'agent' ? fleet.machines : [who];
        await Promise.all(victims.map((victim) => fleet.kill(victim)));
        for (const { subject, hold } of held) {
          expect((await hold.read())?.migration?.phase).toBe(subject.phase);
          await hold.release();
        }
        await Promise.all(victims.map((victim) => fleet.restart(victim)));
        await Promise.all(held.map(endSubject));
      },
    );
  },
);
