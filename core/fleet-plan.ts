/**
 * Which clusters of a fleet may begin: waves, the sliding window, machines' slots, the failure
 * budget. Pure, so that it can be tested by itself; the workflow keeps what is counted here.
 */

/** A count, or a percentage of all such as `10%`. */
export type Share = number | string;

/** Percentages have at most so many decimals that count. */
const percentScale = 1_000_000;

/** Rounded up; at most all of them. */
export function shareOf(share: Share, total: number): number {
  if (typeof share === 'number') return Math.min(share, total);
  const scaled = Math.round(Number.parseFloat(share) * percentScale);
  return Math.min(total, Math.ceil((total * scaled) / (100 * percentScale)));
}

export interface PlannedWave {
  readonly name: string;
  /** Positions `[from, to)` of the fleet's order. */
  readonly from: number;
  readonly to: number;
}

/**
 * Each wave begins at least one cluster more than those before it; a wave that would begin none,
 * because all have begun, is left out. What the last one does not reach is not migrated.
 */
export function planWaves(
  waves: readonly { readonly name?: string; readonly clusters: Share }[],
  total: number,
): PlannedWave[] {
  const planned: PlannedWave[] = [];
  for (const [number, { name, clusters }] of waves.entries()) {
    const from = planned.at(-1)?.to ?? 0;
    const to = Math.min(total, Math.max(from + 1, shareOf(clusters, total)));
    if (to > from) planned.push({ name: name ?? `wave-${number + 1}`, from, to });
  }
  return planned;
}

export interface ConcurrencyLimits {
  /** Clusters under way on one machine, before they soak. */
  readonly perMachine: number;
  /** Clusters under way at once, before they soak. */
  readonly clusters: number;
  /** Clusters that soak at once; null is no limit. */
  readonly soaking: number | null;
}

/** What takes a slot: a cluster under way, with the machines that it lies on. */
export interface SlotHolder {
  readonly hosts: readonly string[];
}

/** Slots of machines and of the window, as they are taken now. */
export class Slots {
  readonly #limits: ConcurrencyLimits;
  readonly #onMachine = new Map<string, number>();
  #underWay = 0;
  readonly #soaking: number;

  constructor(
    limits: ConcurrencyLimits,
    now: { readonly underWay: Iterable<SlotHolder>; readonly soaking: number },
  ) {
    this.#limits = limits;
    this.#soaking = now.soaking;
    for (const holder of now.underWay) this.take(holder);
  }

  /** Whoever begins will soak: so what is under way counts against the limit of soaking, too. */
  fits({ hosts }: SlotHolder): boolean {
    const { perMachine, clusters, soaking } = this.#limits;
    if (this.#underWay >= clusters) return false;
    if (soaking !== null && this.#underWay + this.#soaking >= soaking) return false;
    return hosts.every((host) => (this.#onMachine.get(host) ?? 0) < perMachine);
  }

  take({ hosts }: SlotHolder): void {
    this.#underWay += 1;
    // Two members on one machine are one cluster there.
    for (const host of new Set(hosts)) {
      this.#onMachine.set(host, (this.#onMachine.get(host) ?? 0) + 1);
    }
  }
}

/**
 * Those of `candidates` that may begin now, in their order. One whose machine is taken is passed
 * over, so that it does not hold up the others; candidates are bounded, so it is not for ever.
 */
export function whoBegins<Candidate extends SlotHolder>(
  candidates: readonly Candidate[],
  slots: Slots,
): Candidate[] {
  return candidates.filter((candidate) => {
    const fits = slots.fits(candidate);
    if (fits) slots.take(candidate);
    return fits;
  });
}

/** Whether so many failures forbid that another cluster begins. */
export function isBudgetSpent(budget: Share, failures: number, total: number): boolean {
  return failures > shareOf(budget, total);
}

/**
 * Positions that have begun, kept small: all below `cursor`, and some of those after it.
 */
export class BegunPositions {
  #cursor: number;
  readonly #ahead: Set<number>;

  constructor(carried: { readonly cursor: number; readonly ahead: readonly number[] }) {
    this.#cursor = carried.cursor;
    this.#ahead = new Set(carried.ahead);
  }

  /** First position that has not begun. */
  get cursor(): number {
    return this.#cursor;
  }

  get ahead(): number[] {
    return [...this.#ahead].toSorted((a, b) => a - b);
  }

  get count(): number {
    return this.#cursor + this.#ahead.size;
  }

  has(position: number): boolean {
    return position < this.#cursor || this.#ahead.has(position);
  }

  add(position: number): void {
    if (position < this.#cursor) return;
    this.#ahead.add(position);
    while (this.#ahead.delete(this.#cursor)) this.#cursor += 1;
  }
}
