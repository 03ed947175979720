import { percentile } from '../support/figures.ts';

/** How the end of one run was seen. */
export interface Seen {
  workflow: string;
  /** When the run was created, s. */
  created: number;
  requests: number;
  /** From its end to the poll that saw it, s. */
  delayS: number;
}

/** How a policy did. Delays in seconds. */
export interface Summary {
  runs: number;
  requestsPerRun: number;
  mean: number;
  p50: number;
  p95: number;
  p99: number;
  max: number;
  /** The workflow with the longest mean delay. */
  worst: { workflow: string; mean: number };
}

export function summarize(seen: Seen[]): Summary {
  const delays = seen.map(({ delayS }) => delayS);
  return {
    runs: seen.length,
    requestsPerRun: meanOf(seen.map(({ requests }) => requests)),
    mean: meanOf(delays),
    p50: percentile(delays, 0.5),
    p95: percentile(delays, 0.95),
    p99: percentile(delays, 0.99),
    max: Math.max(...delays),
    worst: worstOf(seen),
  };
}

export function meanOf(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function worstOf(seen: Seen[]): Summary['worst'] {
  const workflows = [...new Set(seen.map(({ workflow }) => workflow))];
  const means = workflows.map((workflow) => {
    const some = seen.filter((one) => one.workflow === workflow);
    return { workflow, mean: meanOf(some.map(({ delayS }) => delayS)) };
  });
  return means.reduce((worst, one) => (one.mean > worst.mean ? one : worst));
}
