import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { windowAt } from '../../control/windows.ts';
import { windowSchema, type MaintenanceWindow } from '../../schemas/rollout-policy.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

const window = (given: object): MaintenanceWindow => windowSchema.parse(given);

/** In UTC. */
const at = (text: string) => Date.parse(`${text}Z`);

describe('a window', () => {
  const night = window({ days: ['fri'], from: '22:00', to: '04:00', timeZone: 'Europe/Berlin' });

  test.each([
    ['before it', '2026-07-03T19:59:59.000', { open: false, opensInMs: 1000 }],
    ['as it opens', '2026-07-03T20:00', { open: true, closesInMs: 6 * hourMs }],
    ['after midnight', '2026-07-04T01:59', { open: true, closesInMs: minuteMs }],
    ['as it closes', '2026-07-04T02:00', { open: false, opensInMs: 7 * dayMs - 6 * hourMs }],
    ['in winter', '2026-01-02T21:00', { open: true, closesInMs: 6 * hourMs }],
  ])('across midnight, %s', (_when, text, state) => {
    expect(windowAt([night], at(text))).toEqual(state);
  });

  test('none at all is always open', () => {
    expect(windowAt([], 0)).toEqual({ open: true, closesInMs: null });
  });

  test('whole days that follow each other never close', () => {
    const always = window({ from: '00:00', to: '00:00', timeZone: 'America/New_York' });
    expect(windowAt([always], at('2026-03-08T06:30'))).toEqual({ open: true, closesInMs: null });
  });

  test('adjacent and overlapping ones, in several zones, close as one', () => {
    const windows = [
      window({ from: '01:00', to: '02:00' }),
      window({ from: '02:00', to: '03:00' }),
      window({ from: '08:15', to: '09:30', timeZone: 'Asia/Kolkata' }),
    ];
    expect(windowAt(windows, at('2026-05-05T01:30'))).toEqual({
      open: true,
      closesInMs: 2.5 * hourMs,
    });
  });

  test.each([
    ['a time that the clock never shows', '02:30', '05:00', '2026-03-29T01:00', 2 * hourMs],
    ['an end that it never shows', '01:00', '02:30', '2026-03-29T00:30', 0.5 * hourMs],
    ['a time that it shows twice', '02:30', '03:00', '2026-10-25T00:30', 1.5 * hourMs],
    ['an end that it shows twice', '01:00', '02:30', '2026-10-25T00:00', 0.5 * hourMs],
  ])('%s, in Berlin', (_what, from, to, text, closesInMs) => {
    const one = window({ from, to, timeZone: 'Europe/Berlin' });
    expect(windowAt([one], at(text))).toEqual({ open: true, closesInMs });
    expect(windowAt([one], at(text) - 1).open).toBe(from < '02:00');
  });

  test('one that the clock skips as a whole does not open that day', () => {
    const skipped = window({ from: '02:10', to: '02:50', timeZone: 'Europe/Berlin' });
    const state = windowAt([skipped], at('2026-03-28T12:00'));
    expect(state).toEqual({
      open: false,
      opensInMs: at('2026-03-30T00:10') - at('2026-03-28T12:00'),
    });
  });
});

describe('against a clock that is read each minute', () => {
  const zones = ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'UTC'];
  const days = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

  /** Near a change of Berlin, New York, or Lord Howe, or anywhere. */
  const around = fc.constantFrom(
    at('2026-03-29T01:00'),
    at('2026-10-25T01:00'),
    at('2027-03-14T07:00'),
    at('2027-11-07T06:00'),
    at('2026-04-04T15:00'),
    at('2026-10-03T15:30'),
    at('2028-02-28T23:00'),
  );

  const timeOfDay = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.constantFrom(0, 10, 30, 59))
    .map((parts) => parts.map((part) => String(part).padStart(2, '0')).join(':'));

  const windows = fc.array(
    fc.record({
      days: fc.subarray([...days], { minLength: 1 }),
      from: timeOfDay,
      to: timeOfDay,
      timeZone: fc.constantFrom(...zones),
    }),
    { minLength: 1, maxLength: 3 },
  );

  test('it opens and closes at the same minutes', () => {
    fc.assert(
      fc.property(
        windows,
        around,
        fc.array(fc.integer({ min: -36 * 60, max: 36 * 60 }), { minLength: 20, maxLength: 20 }),
        (given, moment, offsets) => {
          const openAt = new MinuteByMinute(given, moment);
          for (const offset of offsets) {
            const ms = moment + offset * minuteMs;
            expect(windowAt(given, ms)).toEqual(openAt.state(ms));
          }
        },
      ),
      { numRuns: 60 },
    );
  }, 300_000);

  class MinuteByMinute {
    readonly #startMs: number;
    readonly #open: boolean[];

    constructor(given: readonly MaintenanceWindow[], aroundMs: number) {
      this.#startMs = aroundMs - 4 * dayMs;
      const minutes = (4 + 12) * 24 * 60;
      this.#open = Array.from({ length: minutes }, () => false);
      for (const one of given) this.#mark(one, this.#clock(one.timeZone, minutes));
    }

    /** What the clock shows each minute: text that sorts by time. */
    #clock(timeZone: string, minutes: number): string[] {
      const format = new Intl.DateTimeFormat('sv-SE', {
        timeZone,
        dateStyle: 'short',
        timeStyle: 'short',
      });
      return Array.from({ length: minutes }, (_, i) => format.format(this.#startMs + i * minuteMs));
    }

    #mark({ days: opening, from, to }: MaintenanceWindow, clock: readonly string[]): void {
      const dates = new Set(clock.map((text) => text.slice(0, 10)));
      for (const date of dates) {
        const day = days[new Date(`${date}T00:00Z`).getUTCDay()];
        if (opening !== undefined && !opening.some((name) => name === day)) continue;
        const next = new Date(Date.parse(`${date}T00:00Z`) + dayMs).toISOString().slice(0, 10);
        const begins = firstFrom(clock, `${date} ${from}`);
        const ends = firstFrom(clock, `${to > from ? date : next} ${to}`);
        this.#open.fill(true, begins, Math.max(begins, ends));
      }
    }

    /** As far as its minutes go: nothing is asked that lies near their end. */
    state(ms: number) {
      const i = (ms - this.#startMs) / minuteMs;
      const open = this.#open[i] === true;
      const change = this.#open.indexOf(!open, i);
      // Nine days without a change are for ever: windows repeat by the week.
      const inMs = change < 0 ? null : (change - i) * minuteMs;
      return open ? { open, closesInMs: inMs } : { open, opensInMs: inMs };
    }
  }

  function firstFrom(clock: readonly string[], text: string): number {
    const found = clock.findIndex((shown) => shown >= text);
    return found < 0 ? clock.length : found;
  }
});
