import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import {
  BegunPositions,
  isBudgetSpent,
  planWaves,
  shareOf,
  Slots,
  whoBegins,
} from '../../core/fleet-plan.ts';

const share = fc.oneof(
  fc.integer({ min: 0, max: 3000 }),
  fc.integer({ min: 0, max: 1000 }).map((tenths) => `${tenths / 10}%`),
);

describe('shares and waves', () => {
  test('a percentage is rounded up, and exact where it is whole', () => {
    expect(shareOf('10%', 30)).toBe(3);
    expect(shareOf('7%', 100)).toBe(7);
    expect(shareOf('10%', 31)).toBe(4);
    expect(shareOf('33.3%', 10)).toBe(4);
    expect(shareOf(50, 10)).toBe(10);
  });

  test('a canary, a tenth, then all', () => {
    const waves = [{ name: 'canary', clusters: 1 }, { clusters: '10%' }, { clusters: '100%' }];
    expect(planWaves(waves, 25)).toEqual([
      { name: 'canary', from: 0, to: 1 },
      { name: 'wave-2', from: 1, to: 3 },
      { name: 'wave-3', from: 3, to: 25 },
    ]);
  });

  test('a wave that would add none adds one, and those beyond the fleet are left out', () => {
    const waves = [{ clusters: 2 }, { clusters: '1%' }, { clusters: 0 }, { clusters: '100%' }];
    expect(planWaves(waves, 4).map(({ to }) => to)).toEqual([2, 3, 4]);
    expect(planWaves(waves, 0)).toEqual([]);
  });

  test('waves follow each other without a gap, each with a cluster, none beyond the fleet', () => {
    const waves = fc.array(fc.record({ clusters: share }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(waves, fc.integer({ min: 1, max: 5000 }), (given, total) => {
        let end = 0;
        for (const { from, to } of planWaves(given, total)) {
          expect(from).toBe(end);
          expect(to).toBeGreaterThan(from);
          expect(to).toBeLessThanOrEqual(total);
          end = to;
        }
        expect(end).toBeGreaterThan(0);
      }),
    );
  });
});

describe('slots', () => {
  const hosts = fc.uniqueArray(
    fc.integer({ min: 0, max: 9 }).map((n) => `m${n}`),
    {
      minLength: 1,
      maxLength: 5,
    },
  );
  const clusters = fc.array(fc.record({ hosts }), { maxLength: 60 });

  test('whoever begins keeps every limit, and nobody who could begin is left', () => {
    const limits = fc.record({
      perMachine: fc.integer({ min: 1, max: 3 }),
      clusters: fc.integer({ min: 1, max: 12 }),
      soaking: fc.option(fc.integer({ min: 1, max: 12 })),
    });
    fc.assert(
      fc.property(clusters, limits, fc.integer({ min: 0, max: 12 }), (waiting, limit, soaking) => {
        const begun = whoBegins(waiting, new Slots(limit, { underWay: [], soaking }));
        const onMachine = new Map<string, number>();
        for (const host of begun.flatMap((cluster) => cluster.hosts)) {
          onMachine.set(host, (onMachine.get(host) ?? 0) + 1);
        }
        expect(begun.length).toBeLessThanOrEqual(limit.clusters);
        expect(Math.max(0, ...onMachine.values())).toBeLessThanOrEqual(limit.perMachine);
        if (limit.soaking !== null && begun.length > 0) {
          expect(begun.length + soaking).toBeLessThanOrEqual(limit.soaking);
        }
        const after = new Slots(limit, { underWay: begun, soaking });
        const left = waiting.filter((cluster) => !begun.includes(cluster));
        expect(left.filter((cluster) => after.fits(cluster))).toEqual([]);
      }),
    );
  });

  test('two members of a cluster on one machine take one slot there', () => {
    const limits = { perMachine: 2, clusters: 10, soaking: null };
    const underWay = [{ hosts: ['m1', 'm1', 'm2'] }];
    const slots = new Slots(limits, { underWay, soaking: 0 });
    expect(slots.fits({ hosts: ['m1'] })).toBe(true);
    slots.take({ hosts: ['m1'] });
    expect(slots.fits({ hosts: ['m1'] })).toBe(false);
    expect(slots.fits({ hosts: ['m2'] })).toBe(true);
  });
});

test('a budget of none is spent by the first failure, one of two by the third', () => {
  expect([0, 1].map((failures) => isBudgetSpent(0, failures, 20))).toEqual([false, true]);
  expect([2, 3].map((failures) => isBudgetSpent('10%', failures, 20))).toEqual([false, true]);
});

test('positions that have begun are known, in whatever order, and through a hand-over', () => {
  const order = fc.shuffledSubarray(Array.from({ length: 40 }, (_, n) => n));
  fc.assert(
    fc.property(order, (begun) => {
      let positions = new BegunPositions({ cursor: 0, ahead: [] });
      for (const position of begun) {
        positions.add(position);
        positions = new BegunPositions({ cursor: positions.cursor, ahead: positions.ahead });
      }
      expect(positions.count).toBe(begun.length);
      for (let n = 0; n < 40; n += 1) expect(positions.has(n)).toBe(begun.includes(n));
    }),
  );
});
