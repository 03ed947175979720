import { BIN_EDGES_S, BINS, binOf, quantile, type Statistics } from './hazard.ts';

/** Runs that outlast all but this share are left out: what they add is less than chance does. */
const NEGLIGIBLE = 0.001;

/** Polls of one run that are reckoned with: a bound on the work. */
const MOST_POLLS = 5_000;

/** What polling one run costs and gives. */
export interface PollingPerRun {
  /** Requests up to the one that sees its end. */
  requests: number;
  /** From the end of the run to our seeing it, s. */
  delayS: number;
}

/**
 * What polling comes to, by the mean, for runs that last as long as those that were seen did and are
 * watched from their beginning: at each age at which a
 * poll is due, those that were left by the poll before are asked for, and those that have ended since
 * were waited for.
 * @param durations how long runs last from their creation on
 * @param intervalAt the time until the next poll of a run of this age, s
 * @returns null while too little is known
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

/** Of runs that are alive at an age: how long they live until another one, and the share that does so. */
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
