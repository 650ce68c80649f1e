import {
  array,
  assert,
  asyncProperty,
  constant,
  constantFrom,
  integer,
  oneof,
  option,
  record,
  tuple,
  type Arbitrary,
} from 'fast-check';
import { expect, test } from 'vitest';

import { ValidatedPair, type Change, type Step } from './validated-pair.ts';

const runs = process.env['QUORUMSHIFT_LONG'] === '1' ? 5000 : 150;

const back = integer({ min: 0, max: 250 });
const count = integer({ min: 1, max: 150 });
const snapshot = constant({ kind: 'snapshot' } as const);
const prefix = record({ kind: constant('prefix' as const), by: integer({ min: 1, max: 200 }) });
const reset = record({ kind: constant('reset' as const), to: integer({ min: 1, max: 400 }) });
const change: Arbitrary<Change> = oneof(
  { weight: 6, arbitrary: record({ kind: constant('append' as const), count }) },
  { weight: 2, arbitrary: record({ kind: constant('replace' as const), back, count }) },
  { weight: 1, arbitrary: record({ kind: constant('truncate' as const), back }) },
  { weight: 2, arbitrary: prefix },
  { weight: 1, arbitrary: reset },
  { weight: 1, arbitrary: constant({ kind: 'meta' } as const) },
  { weight: 2, arbitrary: snapshot },
);
const differ = record({
  kind: constant('differ' as const),
  on: constantFrom('primary' as const, 'mirror' as const),
  part: constantFrom('log' as const, 'log' as const, 'meta' as const, 'snapshot' as const),
  back: integer({ min: 0, max: 400 }),
});
const whole = { kind: 'validate', stopAfter: null, before: null, meanwhile: null } as const;
const cutOff = record({
  kind: constant('validate' as const),
  stopAfter: integer({ min: 0, max: 7 }),
  before: constant(null),
  meanwhile: constant(null),
});
const maybe = option(change, { freq: 1 });
const validate = record({
  kind: constant('validate' as const),
  stopAfter: option(integer({ min: 0, max: 7 }), { freq: 1 }),
  before: maybe,
  meanwhile: maybe,
});
const swap = constant({ kind: 'swap' } as const);
const newMirror = constant({ kind: 'new-mirror' } as const);
const age = constant({ kind: 'age' } as const);

/** What seldom comes together by itself. */
const steps: Arbitrary<readonly Step[]> = oneof(
  { weight: 8, arbitrary: tuple(change) },
  { weight: 4, arbitrary: tuple(validate) },
  { weight: 4, arbitrary: constant([whole]) },
  { weight: 1, arbitrary: tuple(swap) },
  { weight: 1, arbitrary: tuple(age) },
  { weight: 1, arbitrary: tuple(constant(whole), oneof(prefix, reset), constant(whole)) },
  { weight: 1, arbitrary: tuple(differ, cutOff, constant(whole)) },
  { weight: 1, arbitrary: tuple(constant(whole), newMirror, differ, constant(whole)) },
  { weight: 1, arbitrary: tuple(snapshot, differ, cutOff, constant(whole)) },
);

const first: readonly Step[] = [{ kind: 'append', count: 300 }];
/** Each life ends with a full validation. */
const last: readonly Step[] = [{ kind: 'age' }, whole];

test(`${runs} random lives: an incremental validation says what a full one says, whatever was changed, cut off or altered behind its back, and reads no more than it must [EQ-3] [EQ-5]`, async () => {
  let differences = 0;
  const lives = array(steps, { minLength: 3, maxLength: 15 });
  const life = asyncProperty(lives, async (taken) => {
    const pair = await ValidatedPair.open();
    try {
      for (const step of [...first, ...taken.flat(), ...last]) {
        if (await pair.take(step)) continue;
        differences += 1;
        return;
      }
    } finally {
      await pair.close();
    }
  });
  await assert(life, { numRuns: runs });
  expect(differences).toBeGreaterThan(runs / 10);
}, 600_000);
