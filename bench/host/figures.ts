/** What the storage host's benchmarks measure, and what is aimed at. */

/** One thing measured, some times over. */
export interface Figure {
  readonly name: string;
  readonly unit: 'ratio' | 'ms' | 'µs' | 's' | 'MB' | 'KB' | 'count' | '%';
  /** Each pair's or each repetition's. */
  readonly samples: readonly number[];
  /** Of the samples: absent is the median. */
  readonly of?: 'median' | 'p99' | 'max';
  /** Absent where none is set. */
  readonly aim?: { readonly atMost: number } | { readonly atLeast: number };
  /** Medians in their own units, for the reader. */
  readonly measured?: string;
}

export interface Section {
  readonly title: string;
  readonly figures: readonly Figure[];
}

export function valueOf({ samples, of = 'median' }: Figure): number {
  return quantile(samples, { median: 0.5, p99: 0.99, max: 1 }[of]);
}

/** Null where nothing is aimed at. */
export function isMet(figure: Figure): boolean | null {
  const { aim } = figure;
  if (aim === undefined) return null;
  const value = valueOf(figure);
  return 'atMost' in aim ? value <= aim.atMost : value >= aim.atLeast;
}

/** The smallest sample that at least this share of them does not exceed. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.ceil(share * sorted.length) - 1] ?? Number.NaN;
}

export function formatted({ unit }: Pick<Figure, 'unit'>, value: number): string {
  if (unit === 'count') return value.toFixed(0);
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return unit === 'ratio' ? value.toFixed(2) : `${value.toFixed(digits)} ${unit}`;
}

export function figureLine(figure: Figure): string {
  const met = isMet(figure);
  const aim = figure.aim === undefined ? '' : `, aim ${aimText(figure)}`;
  const judged = met === null ? '' : met ? ': met' : ': missed';
  const measured = figure.measured === undefined ? '' : ` (${figure.measured})`;
  return `${figure.name}: ${formatted(figure, valueOf(figure))}${aim}${judged}${measured}`;
}

export function aimText(figure: Figure): string {
  const { aim } = figure;
  if (aim === undefined) return '';
  return 'atMost' in aim
    ? `≤ ${formatted(figure, aim.atMost)}`
    : `≥ ${formatted(figure, aim.atLeast)}`;
}
