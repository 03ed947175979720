import { expectedPolling, type PollingPerRun } from './expected-polling.ts';
import { quantile } from './hazard.ts';
import type { Polled, WorkflowKey, WorkflowStatistics } from './workflow-statistics.ts';

/** How long runs of a workflow take, and how well they are polled. */
export interface WorkflowPolling extends WorkflowKey {
  /** Runs that were watched to their end. */
  runs: number;
  /** States of which something is known. */
  states: number;
  /** Seconds from creation to end; null while too little is known. */
  duration: { median: number; p90: number } | null;
  /** What it took of late, by the mean; null before a run was watched to its end. */
  measured: PollingPerRun | null;
  /** What the present policy comes to for runs that last so long; null while too little is known. */
  expected: PollingPerRun | null;
}

/** @param intervalAt the time until the next poll of a run of an age by the present policy, s */
export function workflowPolling(
  { source, workflowId, states, durations, polled }: WorkflowStatistics,
  intervalAt: (ageS: number) => number,
): WorkflowPolling {
  const median = durations && quantile(durations, 0.5);
  const p90 = durations && quantile(durations, 0.9);
  return {
    source,
    workflowId,
    runs: durations?.runs ?? 0,
    states: [...states.keys()].filter((state) => state !== null).length,
    duration: median === null || p90 === null ? null : { median, p90 },
    measured: polled && perRun(polled),
    expected: durations && expectedPolling(durations, intervalAt),
  };
}

function perRun({ runs, requests, delayS }: Polled): PollingPerRun {
  return { requests: requests / runs, delayS: delayS / runs };
}
