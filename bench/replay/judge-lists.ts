import { rounded } from '../support/figures.ts';
import { atMost, type Judgement } from './judgement.ts';
import type { Memory } from './runwatch.ts';
import { copyOf, replayOurs, type OurOptions } from './scenarios.ts';
import { summarize, type Summary } from './summary.ts';
import { workload, type TracedRun } from './workload.ts';

/** This many runs of one workflow begin within a second. */
const RUNS = 100;

/** The middle one of the kinds with runs of similar lengths. */
const KIND = '5 min';

/** A poll each second: the shortest interval by default. */
const EACH_SECOND = { minIntervalMs: 1_000, maxIntervalMs: 1_000 };

/** Lists may take at most this share of the requests of single polls. */
const SHARE = 0.1;

/** Two p95 of a hundred delays count as alike within this factor. */
const LIKE = 1.1;

/** Prices to try, as powers of ten of the profile's, by bisection. */
const PRICES = { low: -2, high: 0, halvings: 5 };

interface ListsOptions {
  seed: number;
  /** Earlier statistics. */
  memory: Memory;
}

/**
 * Runs of one workflow polled by their list, beside single polls with no higher p95 of the delay.
 * They are judged as `bench -- lists` judges the daemon: both sides poll every second, so that
 * their delays are alike whatever the statistics. Where intervals follow from the price of a
 * request, lists are not only cheaper but also earlier. The figure for that is for information.
 * There the price of single polls is lowered until they are as early. Their statistics of the
 * workflow make up for part of what lists save.
 */
export function judgeLists({ seed, memory }: ListsOptions): Judgement {
  const runs = atOnce(seed + 4);
  const replayed = (options: Partial<OurOptions>) =>
    summarize(
      replayOurs(runs, { seed, profile: 'normal', memory: copyOf(memory), ...options }).seen,
    );
  const single = replayed({ limits: EACH_SECOND });
  const listed = replayed({ limits: EACH_SECOND, lists: true });
  const ours = replayed({ lists: true });
  const asEarly = asEarlyAs(ours, (costMultiplier) => replayed({ costMultiplier }));
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
function asEarlyAs({ p95 }: Summary, replayed: (costMultiplier: number) => Summary): Summary {
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
