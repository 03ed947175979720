import type { Summary } from './summary.ts';

/** Several policies on the same runs, by their names. */
export type Comparison = Record<string, Summary>;

const COLUMNS = ['requests/run', 'mean', 'p50', 'p95', 'p99', 'worst mean'];

/** A comparison for people; delays in seconds. */
export function tableOf(name: string, rows: Comparison): string {
  const width = Math.max(...Object.keys(rows).map((policy) => policy.length));
  const lines = Object.entries(rows).map(
    ([policy, summary]) => `  ${policy.padEnd(width)}${cells(summary).map(right).join('')}`,
  );
  return [name, `  ${''.padEnd(width)}${COLUMNS.map(right).join('')}`, ...lines, ''].join('\n');
}

function right(text: string): string {
  return text.padStart(15);
}

function cells({ requestsPerRun, mean, p50, p95, p99, worst }: Summary): string[] {
  const seconds = [mean, p50, p95, p99].map((value) => `${value.toFixed(2)} s`);
  return [requestsPerRun.toFixed(1), ...seconds, `${worst.mean.toFixed(1)} s ${worst.workflow}`];
}
