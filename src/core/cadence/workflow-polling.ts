import { policyInterval, type PollingDefaults } from './cadence.ts';
import {
  quantile,
  BIN_EDGES_S,
  BINS,
  binOf,
  type Statistics,
  type Polled,
  type WorkflowStatistics,
} from './hazard.ts';
import { untilTransition, type WorkflowKey } from './phase.ts';

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
  return name !== null && !name.startsWith(untilTransition(''));
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

/** The share of the longest runs that the estimate leaves out as negligible. */
const NEGLIGIBLE = 0.001;

/** Most polls of one run that the estimate simulates, to bound the work. */
const MOST_POLLS = 5_000;

/** Cost and delay of polling one run. */
export interface PollingPerRun {
  /** Requests up to and including the one that sees its end. */
  requests: number;
  /** From the end of the run to its detection, s. */
  delayS: number;
}

/**
 * Mean requests and mean delay of polling, for runs as long as those observed and watched from
 * their beginning. At each age with a poll, the runs still alive cost a request. The runs that
 * ended since the poll before add their delay.
 * @param durations how long runs last from their creation on
 * @param intervalAt the time until the next poll of a run of this age, s
 * @returns null while too few durations are known
 */
export function expectedPolling(
  durations: Statistics,
  intervalAt: (ageS: number) => number,
): PollingPerRun | null {
  if (quantile(durations, 0.5) === null) return null;
  const oldestS = BIN_EDGES_S[durations.secondsAtRisk.findLastIndex((seconds) => seconds > 0)];
  let [requests, delayS, ageS, left] = [1, 0, 0, 1];
  for (let poll = 0; poll < MOST_POLLS; poll += 1) {
    if (left < NEGLIGIBLE || ageS > (oldestS ?? Infinity)) break;
    const intervalS = intervalAt(ageS);
    const { livedS, survive } = lifeBetween(durations, ageS, ageS + intervalS);
    requests += left;
    delayS += left * (intervalS - livedS);
    left *= survive;
    ageS += intervalS;
  }
  return { requests, delayS };
}

/**
 * For runs alive at `fromS`: their mean time alive until `toS`, and the share that reaches `toS`.
 */
function lifeBetween(durations: Statistics, fromS: number, toS: number) {
  let [livedS, survive] = [0, 1];
  for (let bin = binOf(fromS); bin < BINS; bin += 1) {
    const beginsS = Math.max(fromS, BIN_EDGES_S[bin - 1] ?? 0);
    const lastsS = Math.min(toS, BIN_EDGES_S[bin] ?? Infinity) - beginsS;
    if (lastsS <= 0) break;
    const rate = (durations.endings[bin] ?? 0) / (durations.secondsAtRisk[bin] || Infinity);
    const kept = Math.exp(-rate * lastsS);
    livedS += survive * (rate === 0 ? lastsS : (1 - kept) / rate);
    survive *= kept;
  }
  return { livedS, survive };
}
