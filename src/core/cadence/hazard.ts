import { workBegan, type WorkTimes } from '../run/snapshot.ts';
import { type Dwell, untilTransition, SECOND_MS, type WorkflowKey } from './phase.ts';
import type { Phase } from '../watch/watch.ts';

/**
 * Bins of age: the end of the first, s. Each further bin is longer by the ratio; the last is open.
 */
const FIRST_EDGE_S = 0.5;
const EDGE_RATIO = 1.25;
export const BINS = 56;

/** The edges between bins, s: from 0.5 s to about a day. */
export const BIN_EDGES_S: readonly number[] = edges();

/** Weight that all earlier duration samples keep when one more arrives: about 200 count. */
export const DECAY = 0.995;

/**
 * The pseudo-count of the prior, in endings, so that single samples do not dominate the estimate. A
 * whole ending is too much for such narrow bins: where no run ends, 1/age would cause polls of runs
 * that cannot have ended. In the replay at a sixth of the requests of fixed polling, the mean delay
 * is 2.9 s with a whole ending and 2.4 s with a quarter.
 */
const PRIOR_ENDINGS = 0.25;

/** Fewer duration samples than this give no quantile. */
const LEAST_RUNS = 5;

/** Statistics of a state's dwell time. Decayed, so that recent samples count for more. */
export interface Statistics {
  /** Observed endings, by the bin of the age at which they came. */
  endings: number[];
  /** Time for which runs were watched, by the bin of their age, s. */
  secondsAtRisk: number[];
  /** Number of samples with an observed ending, not decayed. */
  runs: number;
}

/**
 * Returns the statistics of one state of a workflow, or with null of the workflow as a whole;
 * undefined where the workflow is unknown.
 */
export type StatisticsLookup = (
  source: string,
  workflowId: string | null,
  state: string | null,
) => Statistics | undefined;

/** Statistics for callers that have none. */
export const nothingLearned: StatisticsLookup = () => undefined;

function edges(): number[] {
  const all = [FIRST_EDGE_S];
  for (let at = 1; at < BINS - 1; at += 1) all.push((all[at - 1] ?? 0) * EDGE_RATIO);
  return all;
}

function zeros(count: number): number[] {
  return Array.from({ length: count }, () => 0);
}

export function emptyStatistics(): Statistics {
  return { endings: zeros(BINS), secondsAtRisk: zeros(BINS), runs: 0 };
}

/** The bin of an age. */
export function binOf(ageS: number): number {
  let low = 0;
  let high = BIN_EDGES_S.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ageS >= (BIN_EDGES_S[middle] ?? Infinity)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** What a duration sample adds to statistics. */
export interface Exposure {
  /** The bin of the age at which watching began. */
  firstBin: number;
  /** How long the run was watched in that bin and in each one after it, s. */
  seconds: number[];
  /** The bin of its ending; null for a censored sample. */
  endedIn: number | null;
}

/**
 * Occurrence and exposure by age. Samples that began late or were censored count for exactly the
 * time that was watched.
 */
export function exposureOf({ fromS, toS, ended }: Dwell): Exposure {
  const firstBin = binOf(fromS);
  const lastBin = Math.max(firstBin, binOf(toS));
  const seconds = Array.from({ length: lastBin - firstBin + 1 }, (_, at) => {
    const beginsS = Math.max(fromS, BIN_EDGES_S[firstBin + at - 1] ?? 0);
    const endsS = Math.min(toS, BIN_EDGES_S[firstBin + at] ?? Infinity);
    return Math.max(0, endsS - beginsS);
  });
  return { firstBin, seconds, endedIn: ended ? lastBin : null };
}

/** The statistics with one more duration sample. */
export function learn(statistics: Statistics, dwell: Dwell): Statistics {
  const { firstBin, seconds, endedIn } = exposureOf(dwell);
  const kept = endedIn === null ? 1 : DECAY;
  const endings = statistics.endings.map((count) => count * kept);
  if (endedIn !== null) endings[endedIn] = (endings[endedIn] ?? 0) + 1;
  const secondsAtRisk = statistics.secondsAtRisk.map((before) => before * kept);
  for (const [at, more] of seconds.entries()) {
    secondsAtRisk[firstBin + at] = (secondsAtRisk[firstBin + at] ?? 0) + more;
  }
  return { endings, secondsAtRisk, runs: statistics.runs + (endedIn === null ? 0 : 1) };
}

/**
 * The chance per second that a state of this age ends now. The observed rate is shrunk towards a
 * prior that counts as part of an ending (the mean of a gamma posterior).
 * @param prior the chance per second where nothing was observed
 */
export function hazard(statistics: Statistics | undefined, ageS: number, prior: number): number {
  if (statistics === undefined) return prior;
  const bin = binOf(ageS);
  const endings = statistics.endings[bin] ?? 0;
  const seconds = statistics.secondsAtRisk[bin] ?? 0;
  return (PRIOR_ENDINGS + endings) / (PRIOR_ENDINGS / prior + seconds);
}

/**
 * The age by which a share of all runs has left the state, by the raw hazard of each bin. Where
 * most runs of the oldest bin ended in it, all count as ended by its end.
 * @returns seconds; null with too few samples, or where the share is not reached within the
 * observed ages
 */
export function quantile(statistics: Statistics, share: number): number | null {
  if (statistics.runs < LEAST_RUNS) return null;
  const oldest = statistics.secondsAtRisk.findLastIndex(
    (seconds, bin) => seconds > 0 || (statistics.endings[bin] ?? 0) > 0,
  );
  let missing = -Math.log(1 - share);
  for (let bin = 0; bin <= oldest; bin += 1) {
    const beginsS = BIN_EDGES_S[bin - 1] ?? 0;
    const lastsS = (BIN_EDGES_S[bin] ?? Infinity) - beginsS;
    const endings = statistics.endings[bin] ?? 0;
    const seconds = statistics.secondsAtRisk[bin] ?? 0;
    const rate = endings / (seconds || Infinity);
    if (rate * lastsS >= missing) return beginsS + missing / rate;
    // Life-table estimate of the runs that reached the bin: watched time over its length, plus half
    // of its endings.
    const comers = seconds / lastsS + endings / 2;
    if (bin === oldest && endings > comers / 2) return beginsS + lastsS;
    missing -= rate * (lastsS === Infinity ? 0 : lastsS);
  }
  return null;
}

/** Below this age, s, 1/age is no useful prior. */
const YOUNGEST_S = 0.25;

/** Statistics by age, on one clock. */
interface AgedStatistics {
  statistics: Statistics | undefined;
  /** When its age is 0, milliseconds since the epoch. */
  since: number;
  /** How long a second of it lasts, ms. */
  secondMs: number;
}

/**
 * The hazard model of a run: when to expect its next major transition, by its present phase and by
 * its workflow as a whole.
 */
export interface HazardModel {
  phase: AgedStatistics;
  workflow: AgedStatistics;
}

export function hazardModelOf(
  phase: Phase,
  run: WorkTimes,
  learned: (state: string | null) => Statistics | undefined,
): HazardModel {
  const isWork = phase.state.startsWith('running/');
  return {
    phase: {
      statistics: learned(untilTransition(phase.state)),
      since: phase.since,
      secondMs: phase.secondMs,
    },
    workflow: {
      statistics: isWork ? learned(null) : undefined,
      since: isWork ? (workBegan(run) ?? phase.since) : phase.since,
      secondMs: SECOND_MS,
    },
  };
}

/**
 * The time until the next poll: where the integral of the best poll density √(h/2c) reaches one.
 * The density of this instant alone would jump over later peaks. Source: J. B. Keller, Optimum
 * Checking Schedules for Systems Subject to Random Failure, Management Science 21(3), 1974.
 * @param priceS seconds of delay that one request is worth
 * @param longestMs where to end the search
 * @returns milliseconds
 */
export function pollInterval(
  model: HazardModel,
  { now, priceS, longestMs }: { now: number; priceS: number; longestMs: number },
): number {
  const end = now + longestMs;
  let [at, due] = [now, 0];
  while (at < end) {
    const until = Math.min(nextEdge(model, at), end);
    const perMs = Math.sqrt(transitionsPerSecond(model, at) / (2 * priceS)) / SECOND_MS;
    if (due + perMs * (until - at) >= 1) return at - now + (1 - due) / perMs;
    due += perMs * (until - at);
    at = until;
  }
  return longestMs;
}

/** The hazard at a moment: the phase's statistics, shrunk towards those of the workflow. */
function transitionsPerSecond({ phase, workflow }: HazardModel, at: number): number {
  const workedS = Math.max(YOUNGEST_S, ageAt(workflow, at));
  const prior = hazard(workflow.statistics, workedS, 1 / workedS);
  const secondS = phase.secondMs / SECOND_MS;
  return hazard(phase.statistics, ageAt(phase, at), prior * secondS) / secondS;
}

function ageAt({ since, secondMs }: AgedStatistics, at: number): number {
  return Math.max(0, at - since) / secondMs;
}

/** Until when the hazard remains constant from a moment on. */
function nextEdge({ phase, workflow }: HazardModel, at: number): number {
  // A clock that has not begun, or an edge moved back by rounding, must not stop the search.
  return Math.max(at + 1, Math.min(edgeAfter(phase, at), edgeAfter(workflow, at)));
}

function edgeAfter(clock: AgedStatistics, at: number): number {
  return clock.since + (BIN_EDGES_S[binOf(ageAt(clock, at))] ?? Infinity) * clock.secondMs;
}

/** Everything learned of a workflow. */
export interface WorkflowStatistics extends WorkflowKey {
  /** Grows with every sample. */
  version: number;
  /** Dwell times of the workflow's states; under null, of all states together. */
  states: Map<string | null, Statistics>;
  /** How long whole runs last, from creation to end; null before one was watched. */
  durations: Statistics | null;
  /** How well ends of runs were seen; null before the first. */
  polled: Polled | null;
}

/** Sums over the runs watched to their end, decayed: about the latest 200 count. */
export interface Polled {
  runs: number;
  requests: number;
  /** From the end by the source's time to its detection, s. */
  delayS: number;
}
