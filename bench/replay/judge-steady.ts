import { rounded } from '../support/figures.ts';
import { BACKOFF, FIXED } from './baselines.ts';
import { atMost, type Judgement } from './judgement.ts';
import { replay } from './replay.ts';
import type { Memory } from './runwatch.ts';
import { firstOf, replayOurs, tuned } from './scenarios.ts';
import { summarize, type Seen } from './summary.ts';
import { workload } from './workload.ts';

/** The first runs of each kind, with few statistics so far. */
const FIRST = 20;

interface SteadyOptions {
  seed: number;
  /** Runs of each kind. */
  runs: number;
}

/**
 * The policy where the runs of a workflow resemble earlier ones, from the first run on.
 * @returns also the statistics, and how ends were seen at the profile `normal`
 */
export function judgeSteady({
  seed,
  runs,
}: SteadyOptions): Judgement & { memory: Memory; ours: Seen[] } {
  const steady = workload({ seed, runs });
  const memory: Memory = new Map();
  const seenByBackoff = replay(steady, BACKOFF).seen;
  const seenByUs = replayOurs(steady, { seed, profile: 'normal', memory }).seen;
  const fixed = summarize(replay(steady, FIXED).seen);
  const backoff = summarize(seenByBackoff);
  const frugal = summarize(replayOurs(steady, { seed, profile: 'frugal' }).seen);
  const { summary: sixth, priceS } = tuned(steady, seed, fixed);
  const first = summarize(firstOf(seenByUs, FIRST));
  const firstByBackoff = summarize(firstOf(seenByBackoff, FIRST));
  return {
    memory,
    ours: seenByUs,
    tables: {
      'seven kinds of workflow': {
        [FIXED.name]: fixed,
        [BACKOFF.name]: backoff,
        'runwatch normal': summarize(seenByUs),
        'runwatch frugal': frugal,
        [`runwatch at ${rounded(priceS)} s of delay a request`]: sixth,
      },
      [`the first ${FIRST} runs of each kind`]: {
        [BACKOFF.name]: firstByBackoff,
        'runwatch normal': first,
      },
    },
    gates: [
      atMost(
        'a sixth of fixed 5 s: requests',
        '/run',
        sixth.requestsPerRun,
        fixed.requestsPerRun / 6,
      ),
      atMost('a sixth of fixed 5 s: mean delay', 's', sixth.mean, fixed.mean),
      atMost('frugal: requests', '/run', frugal.requestsPerRun, 1.15 * backoff.requestsPerRun),
      atMost('frugal: mean delay', 's', frugal.mean, 0.4 * backoff.mean),
      atMost('frugal: p95 of the delay', 's', frugal.p95, 0.5 * backoff.p95),
      atMost(`first ${FIRST} runs of each kind: mean delay`, 's', first.mean, firstByBackoff.mean),
    ],
  };
}
