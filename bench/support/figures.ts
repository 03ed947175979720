import { cpus, loadavg } from 'node:os';

/** One number of a benchmark. */
export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** The target; absent where the figure is for information only. */
  target?: { atLeast: number } | { atMost: number };
}

/** The result of a benchmark. */
export interface BenchResult {
  figures: Figure[];
  /** Further data: each round, counts of commands. For `--json` only. */
  details: Record<string, unknown>;
  /** Text above the figures. */
  text?: string;
}

/** Rounds to four digits, which is more than the noise allows. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = Math.floor(sorted.length / 2);
  const lower = sorted.length % 2 === 0 ? upper - 1 : upper;
  return ((sorted[lower] ?? NaN) + (sorted[upper] ?? NaN)) / 2;
}

/** The smallest value that this share of all values does not exceed. */
export function percentile(values: number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** The distance between the smallest and the largest value, as a share of the median. */
export function spread(values: number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values);
}

/** True unless the figure misses its target. */
export function isMet({ value, target }: Figure): boolean {
  if (target === undefined) return true;
  return 'atLeast' in target ? value >= target.atLeast : value <= target.atMost;
}

/** The machine's description; without it the figures mean nothing. */
export function machine(): Record<string, unknown> {
  const processors = cpus();
  const [load = 0] = loadavg();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    load: rounded(load),
  };
}

/** The figures as a table for people. */
export function table(figures: Figure[]): string {
  const rows = figures.map((figure) => [
    figure.name,
    figure.value.toLocaleString('en', { maximumSignificantDigits: 4 }),
    figure.unit,
    verdict(figure),
  ]);
  const width = (column: number) => Math.max(...rows.map((row) => row[column]?.length ?? 0));
  const lines = rows.map(([name = '', value = '', unit = '', met = '']) =>
    `  ${name.padEnd(width(0))}  ${value.padStart(width(1))} ${unit.padEnd(width(2))}  ${met}`.trimEnd(),
  );
  return lines.join('\n');
}

function verdict(figure: Figure): string {
  if (figure.target === undefined) return '';
  const bound =
    'atLeast' in figure.target
      ? `at least ${figure.target.atLeast.toLocaleString('en')}`
      : `at most ${figure.target.atMost.toLocaleString('en')}`;
  return `${isMet(figure) ? 'met' : 'MISSED'}: ${bound}`;
}
