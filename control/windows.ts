/**
 * Maintenance windows: whether one is open, and for how long. Times are those of a clock on the
 * wall in the window's zone. A time that the clock shows twice (it was set back) means the first;
 * one that it never shows (it was set forward) means the moment at which it goes past it.
 */
import type { MaintenanceWindow } from '../schemas/rollout-policy.ts';

export type WindowState =
  /** Null: it never closes. */
  | { readonly open: true; readonly closesInMs: number | null }
  /** Null: none opens within a year. */
  | { readonly open: false; readonly opensInMs: number | null };

interface Interval {
  readonly fromMs: number;
  /** Exclusive. */
  readonly toMs: number;
}

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

/** Windows repeat by the week. */
const nearDays = 9;
/** Rules of summer time repeat by the year. */
const farDays = 400;

/** Adjacent and overlapping windows count as one. None at all: it is always open. */
export function windowAt(windows: readonly MaintenanceWindow[], atMs: number): WindowState {
  if (windows.length === 0) return { open: true, closesInMs: null };
  const near = stateWithin(windows, atMs, nearDays);
  return near ?? stateWithin(windows, atMs, farDays) ?? never(windows, atMs);
}

/** Null when nothing changes within so many days. */
function stateWithin(
  windows: readonly MaintenanceWindow[],
  atMs: number,
  days: number,
): WindowState | null {
  const intervals = merged(windows.flatMap((window) => intervalsOf(window, atMs, days)));
  const next = intervals.find(({ toMs }) => toMs > atMs);
  // What begins or ends in the last days may go on beyond them.
  const knownMs = atMs + (days - 2) * dayMs;
  if (next === undefined) return null;
  if (next.fromMs > atMs) {
    return next.fromMs > knownMs ? null : { open: false, opensInMs: next.fromMs - atMs };
  }
  return next.toMs > knownMs ? null : { open: true, closesInMs: next.toMs - atMs };
}

function never(windows: readonly MaintenanceWindow[], atMs: number): WindowState {
  const intervals = windows.flatMap((window) => intervalsOf(window, atMs, nearDays));
  const open = intervals.some(({ fromMs, toMs }) => fromMs <= atMs && atMs < toMs);
  return open ? { open, closesInMs: null } : { open, opensInMs: null };
}

function merged(intervals: readonly Interval[]): Interval[] {
  const union: Interval[] = [];
  for (const interval of intervals.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const last = union.at(-1);
    if (last === undefined || interval.fromMs > last.toMs) union.push(interval);
    else union.splice(-1, 1, { ...last, toMs: Math.max(last.toMs, interval.toMs) });
  }
  return union;
}

/** Those that open on the local days from two before `atMs` to so many after it. */
function intervalsOf(window: MaintenanceWindow, atMs: number, days: number): Interval[] {
  const zone = zoneOf(window.timeZone);
  const today = Math.floor((atMs + zone.offsetAt(atMs)) / dayMs);
  const fromMs = timeOf(window.from);
  const toMs = timeOf(window.to);
  const lasts = toMs > fromMs ? toMs : toMs + dayMs;
  const found: Interval[] = [];
  for (let day = today - 2; day <= today + days; day += 1) {
    if (!opensOn(window, day)) continue;
    const interval = {
      fromMs: zone.instantOf(day * dayMs + fromMs),
      toMs: zone.instantOf(day * dayMs + lasts),
    };
    if (interval.fromMs < interval.toMs) found.push(interval);
  }
  return found;
}

const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;

/** `day` counts from 1 January 1970. */
function opensOn({ days }: MaintenanceWindow, day: number): boolean {
  const weekday = weekdays[new Date(day * dayMs).getUTCDay()];
  return days === undefined || days.some((opening) => opening === weekday);
}

/** `22:30`, in milliseconds of the day. */
function timeOf(text: string): number {
  const [hours, minutes] = text.split(':').map(Number);
  return (hours ?? 0) * hourMs + (minutes ?? 0) * minuteMs;
}

/** No place is further from UTC, either way. */
const furthestMs = 16 * hourMs;

/** The clocks of one time zone. Local times are milliseconds as if they were UTC. */
class TimeZone {
  readonly #format: Intl.DateTimeFormat;

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** How far local time is ahead of UTC then, in milliseconds. */
  offsetAt(ms: number): number {
    const parts: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(ms)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    const local = Date.UTC(year, month - 1, day, hour, minute, second);
    return local - Math.floor(ms / 1000) * 1000;
  }

  /** The first moment at which the clock shows this time or a later one. */
  instantOf(local: number): number {
    let beforeMs = local - furthestMs;
    let afterMs = local + furthestMs;
    const before = this.offsetAt(beforeMs);
    const after = this.offsetAt(afterMs);
    if (before === after) return local - before;
    while (afterMs - beforeMs > 1) {
      const middleMs = Math.floor((beforeMs + afterMs) / 2);
      if (this.offsetAt(middleMs) === before) beforeMs = middleMs;
      else afterMs = middleMs;
    }
    return local - before < afterMs ? local - before : Math.max(afterMs, local - after);
  }
}

const zones = new Map<string, TimeZone>();

/** Making one takes a millisecond. */
function zoneOf(name: string): TimeZone {
  let zone = zones.get(name);
  if (zone === undefined) {
    zone = new TimeZone(name);
    zones.set(name, zone);
  }
  return zone;
}
