import { rounded } from '../support/figures.ts';
import { atMost, type Judgement } from './judgement.ts';
import type { Memory } from './runwatch.ts';
import { copyOf, replayOurs, type OurOptions } from './scenarios.ts';
import { summarize, type Summary } from './summary.ts';
import { workload, type TracedRun } from './workload.ts';

/** So many runs of one workflow begin within a second. */
const RUNS = 100;

/** The middle one of the kinds whose runs are of about one length. */
const KIND = '5 min';

/** Looks each second: what the shortest interval is by default. */
const EACH_SECOND = { minIntervalMs: 1_000, maxIntervalMs: 1_000 };

/** Lists have to take so small a share of the requests of single polls. */
const SHARE = 0.1;

/** Two p95 of a hundred delays that are no further apart are alike. */
const LIKE = 1.1;

/** Prices that are tried, as powers of ten of the profile's, halving what lies between. */
const PRICES = { low: -2, high: 0, halvings: 5 };

interface BatchOptions {
  seed: number;
  /** What was learned before. */
  memory: Memory;
}

/**
 * Runs of one workflow that are polled by the list that they are on, beside single polls that are no
 * later by the p95 of the delay.
 *
 * They are judged as `bench -- batch` judges the daemon: neither side looks more or less often than
 * each second, so that the delays of both are alike by themselves, whatever was learned. Where the
 * intervals follow from the price of a request, lists are not only cheaper but also earlier; the
 * figure for that is for information. There the price of single polls is lowered until they are as
 * early, and what they have learned of the workflow makes up for a part of what lists save.
 */
export function judgeBatch({ seed, memory }: BatchOptions): Judgement {
  const runs = atOnce(seed + 4);
  const replayed = (options: Partial<OurOptions>) =>
    summarize(
      replayOurs(runs, { seed, profile: 'normal', memory: copyOf(memory), ...options }).seen,
    );
  const single = replayed({ limits: EACH_SECOND });
  const listed = replayed({ limits: EACH_SECOND, batch: true });
  const ours = replayed({ batch: true });
  const asEarly = asEarlyAs(ours, (dearness) => replayed({ dearness }));
  const name = `${RUNS} runs of a workflow at once`;
  return {
    tables: {
      [name]: {
        'each second': single,
        'each second, by lists': listed,
        'runwatch normal': replayed({}),
        'runwatch normal, by lists': ours,
        'runwatch as early as these': asEarly,
      },
    },
    gates: [
      atMost(
        `${name}, each second: share of requests by lists`,
        '',
        shareOf(listed, single),
        SHARE,
      ),
      atMost(`${name}, each second: p95 of the delay`, 's', listed.p95, LIKE * single.p95),
      {
        name: `${name}, normal: share of the requests of single polls as early`,
        value: rounded(shareOf(ours, asEarly)),
        unit: '',
      },
    ],
  };
}

function atOnce(seed: number): TracedRun[] {
  const runs = workload({ seed, runs: RUNS, withinS: 1 });
  return runs.filter(({ workflow }) => workflow === KIND);
}

function shareOf(listed: Summary, single: Summary): number {
  return listed.requestsPerRun / single.requestsPerRun;
}

/** At the highest price of a request, up to that of the profile, that gives no higher a p95. */
function asEarlyAs({ p95 }: Summary, replayed: (dearness: number) => Summary): Summary {
  let { low, high } = PRICES;
  let best = replayed(10 ** low);
  for (let step = 0; step < PRICES.halvings; step += 1) {
    const middle = (low + high) / 2;
    const summary = replayed(10 ** middle);
    const isEarly = summary.p95 <= p95;
    if (isEarly) best = summary;
    [low, high] = isEarly ? [middle, high] : [low, middle];
  }
  return best;
}
