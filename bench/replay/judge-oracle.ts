import { rounded } from '../support/figures.ts';
import type { Judgement } from './judgement.ts';
import { ageOracle, groupBy, progressOracle } from './oracle.ts';
import type { Policy } from './policy.ts';
import { replay } from './replay.ts';
import { summarize, type Seen, type Summary } from './summary.ts';
import { workload, type TracedRun } from './workload.ts';

/** Prices of a request to try, s, by bisection of their logarithm. */
const PRICES_S = { low: 0.03, high: 3, halvings: 6 };

/** Further runs of each workflow that oracles know, for one that is replayed. */
const KNOWN = 3;

interface OracleOptions {
  seed: number;
  /** Runs of each kind. */
  runs: number;
  /** How the ends of these runs were seen by our policy. */
  ours: Seen[];
}

/** The learned cadence beside oracles at as many requests: what better statistics could still gain. */
export function judgeOracle({ seed, runs, ours }: OracleOptions): Judgement {
  const mine = summarize(ours);
  const steady = workload({ seed, runs });
  const known = furtherRuns({ seed, runs });
  const at = (oracleAt: (priceS: number) => Policy) =>
    atRequests(mine.requestsPerRun, (priceS) => summarize(replay(steady, oracleAt(priceS)).seen));
  const byAge = at((priceS) => ageOracle(known, priceS));
  const byProgress = at((priceS) => progressOracle(known, priceS));
  return {
    tables: {
      'at the requests of runwatch normal': {
        'runwatch normal': mine,
        'an oracle by age': byAge,
        'an oracle by progress': byProgress,
      },
    },
    gates: [
      {
        name: 'mean delay, by that of an oracle by age at as many requests 1',
        value: rounded(mine.mean / byAge.mean),
        unit: '',
      },
      {
        name: 'mean delay, by that of an oracle by progress at as many requests 1',
        value: rounded(mine.mean / byProgress.mean),
        unit: '',
      },
    ],
  };
}

/** Runs of the same workflows as a workload has, and none of its own. */
function furtherRuns({ seed, runs }: { seed: number; runs: number }): TracedRun[] {
  const kinds = groupBy(workload({ seed, runs: (1 + KNOWN) * runs }), ({ workflow }) => workflow);
  return [...kinds.values()].flatMap((some) => some.slice(runs));
}

/** What a policy does at the price at which it sends this many requests. */
function atRequests(requestsPerRun: number, replayed: (priceS: number) => Summary): Summary {
  let [low, high] = [Math.log(PRICES_S.low), Math.log(PRICES_S.high)];
  let best: Summary | null = null;
  const distance = (one: Summary) => Math.abs(one.requestsPerRun - requestsPerRun);
  for (let step = 0; step < PRICES_S.halvings; step += 1) {
    const middle = (low + high) / 2;
    const found = replayed(Math.exp(middle));
    if (best === null || distance(found) < distance(best)) best = found;
    if (found.requestsPerRun > requestsPerRun) low = middle;
    else high = middle;
  }
  return best!;
}
