import type { Stay } from './lesson.ts';

/** Bins of age: the first ends here, s; each further one is longer by the ratio; the last is open. */
const FIRST_EDGE_S = 0.5;
const EDGE_RATIO = 1.25;
export const BINS = 56;

/** Where one bin ends and the next begins, s: from 0.5 s to about a day. */
export const BIN_EDGES_S: readonly number[] = edges();

/** What is left of everything learned before when one more stay has ended: 200 of them count. */
export const DECAY = 0.995;

/**
 * How much a prior counts, in endings, so that single observations do not stampede the estimate. A
 * whole ending is too much for bins as narrow as these: where nothing ever ends, 1/age would have runs
 * looked at that cannot have ended. At a sixth of the requests of fixed polling the replay has a mean
 * delay of 2.9 s with a whole one, of 2.4 s with a quarter.
 */
const PRIOR_ENDINGS = 0.25;

/** Fewer stays than this make no quantile. */
const LEAST_RUNS = 5;

/** What is known of how long a state lasts. Decayed, so that the present counts for more. */
export interface Statistics {
  /** Endings that were seen, by the bin of the age at which they came. */
  endings: number[];
  /** Time that runs were watched at an age, by the bin of that age, s. */
  secondsAtRisk: number[];
  /** Stays of which the ending was seen, not decayed. */
  runs: number;
}

/**
 * What was learned of a state of a workflow, or with null for the state of the whole workflow;
 * nothing where the workflow is not known.
 */
export type StatisticsLookup = (
  source: string,
  workflowId: string | null,
  state: string | null,
) => Statistics | undefined;

/** For those who learn nothing. */
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

/** What a stay adds to statistics. */
export interface Exposure {
  /** The first of the bins of age in which it was watched. */
  firstBin: number;
  /** How long it was watched in that bin and in each one after it, s. */
  seconds: number[];
  /** The bin in which it ended; null where nobody saw that. */
  endedIn: number | null;
}

/**
 * Occurrence and exposure by age. Stays that were watched late or left early count for exactly the
 * time that they were watched.
 */
export function exposureOf({ fromS, toS, ended }: Stay): Exposure {
  const firstBin = binOf(fromS);
  const lastBin = Math.max(firstBin, binOf(toS));
  const seconds = Array.from({ length: lastBin - firstBin + 1 }, (_, at) => {
    const beginsS = Math.max(fromS, BIN_EDGES_S[firstBin + at - 1] ?? 0);
    const endsS = Math.min(toS, BIN_EDGES_S[firstBin + at] ?? Infinity);
    return Math.max(0, endsS - beginsS);
  });
  return { firstBin, seconds, endedIn: ended ? lastBin : null };
}

/** What statistics become by one more stay. */
export function learn(statistics: Statistics, stay: Stay): Statistics {
  const { firstBin, seconds, endedIn } = exposureOf(stay);
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
 * The chance per second that a state of this age ends now: what was seen, shrunk towards a prior
 * that counts as a part of an ending (the mean of a gamma posterior).
 * @param prior the chance per second where nothing was seen
 */
export function hazard(statistics: Statistics | undefined, ageS: number, prior: number): number {
  if (statistics === undefined) return prior;
  const bin = binOf(ageS);
  const endings = statistics.endings[bin] ?? 0;
  const seconds = statistics.secondsAtRisk[bin] ?? 0;
  return (PRIOR_ENDINGS + endings) / (PRIOR_ENDINGS / prior + seconds);
}

/**
 * The age by which a share of all stays has ended, by the raw hazard of each bin. Where nobody has
 * lived through a bin, all have ended by its end.
 * @returns seconds; null while too little is known, or where so few end within what was seen
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
    // As many as were watched there, half of the time where they ended: the estimate of life tables.
    const comers = seconds / lastsS + endings / 2;
    if (bin === oldest && endings > comers / 2) return beginsS + lastsS;
    missing -= rate * (lastsS === Infinity ? 0 : lastsS);
  }
  return null;
}
