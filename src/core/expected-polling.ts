import { BIN_EDGES_S, BINS, binOf, quantile, type Statistics } from './hazard.ts';

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
