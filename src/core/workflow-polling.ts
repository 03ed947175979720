import { expectedPolling, type PollingPerRun } from './expected-polling.ts';
import { quantile } from './hazard.ts';
import { policyInterval, type PollingDefaults } from './policy-interval.ts';
import { newsAfter } from './stage.ts';
import type { Polled, WorkflowKey, WorkflowStatistics } from './workflow-statistics.ts';

/** How long runs of a workflow take, and how well they are polled. */
export interface WorkflowPolling extends WorkflowKey {
  /** Runs that were watched to their end. */
  runs: number;
  /** Number of states with statistics. */
  states: number;
  /** Seconds from creation to end; null with too few samples. */
  duration: { median: number; p90: number } | null;
  /** Recent mean cost and delay; null before a run was watched to its end. */
  measured: PollingPerRun | null;
  /**
   * Cost and delay that the present policy should have for such runs; null with too few samples.
   */
  expected: PollingPerRun | null;
}

/** A workflow's statistics, in figures for people. */
export function workflowPolling(
  workflow: WorkflowStatistics,
  defaults: PollingDefaults,
): WorkflowPolling {
  const { source, workflowId, states, durations, polled } = workflow;
  const median = durations && quantile(durations, 0.5);
  const p90 = durations && quantile(durations, 0.9);
  return {
    source,
    workflowId,
    runs: durations?.runs ?? 0,
    states: [...states.keys()].filter(isState).length,
    duration: median === null || p90 === null ? null : { median, p90 },
    measured: polled && measuredPerRun(polled),
    expected: expectedPerRun(workflow, defaults),
  };
}

/** Names of states only; other names hold further statistics. */
function isState(name: string | null): boolean {
  return name !== null && !name.startsWith(newsAfter(''));
}

function measuredPerRun({ runs, requests, delayS }: Polled): PollingPerRun {
  return { requests: requests / runs, delayS: delayS / runs };
}

/** For a run from its creation to the end of its work, or to the first wait for a human. */
function expectedPerRun(
  workflow: WorkflowStatistics,
  defaults: PollingDefaults,
): PollingPerRun | null {
  const work = workflow.states.get(null);
  const working = work && expectedPolling(work, policyInterval('running/0', workflow, defaults));
  if (work === undefined || working === undefined || working === null) return null;
  const queue = workflow.states.get('queued');
  const queued = queue && expectedPolling(queue, policyInterval('queued', workflow, defaults));
  if (queue === undefined || queued === undefined || queued === null) return working;
  // The last poll of a queued run is the first one of its work.
  const share = Math.min(1, queue.runs / work.runs);
  return { ...working, requests: working.requests + share * (queued.requests - 1) };
}
