import { rounded, type Figure } from '../support/figures.ts';
import { BACKOFF } from './baselines.ts';
import { atMost, type Judgement } from './judgement.ts';
import type { Memory } from './runwatch.ts';
import { compare, copyOf, shifted, storms, updatesSeen } from './scenarios.ts';
import type { Comparison } from './table.ts';
import { workload, type TracedRun } from './workload.ts';

/** Within this many runs of a kind the policy has to have learned anew. */
const RELEARNED = 160;

/** This many runs of a kind show whether it has; runs ten times as long are costly to replay. */
const SHIFTED = 200;

/** The budget polls all active runs once in this time, s: a sixth of fixed 5 s. */
const ROUND_S = 30;

interface ChangeOptions {
  seed: number;
  /** Runs of each kind, in each of the conditions. */
  runs: number;
  /** Earlier statistics. */
  memory: Memory;
}

/** The policy with outdated statistics, with misleading answers, or with a short budget. */
export function judgeChange(options: ChangeOptions): Judgement {
  const { seed, runs, memory } = options;
  const ours = { seed, profile: 'normal' as const };
  const few = { ...options, runs: Math.min(runs, SHIFTED) };
  const faster = shifted({ ...few, scale: 0.1 });
  const slower = shifted({ ...few, scale: 10 });
  const misled = workload({ seed: seed + 2, runs, progress: 'misleading' });
  const misleading = compare(misled, { ...ours, memory: copyOf(memory) });
  const others = workload({ seed: seed + 3, runs });
  const stormy = compare(others, ours, { fails: storms(seed) });
  const budgetPerS = activeOnAverage(others) / ROUND_S;
  const shared = compare(others, { seed, profile: 'urgent' }, { budgetPerS });
  const updates = updatesSeen(others, seed);
  return {
    tables: {
      'ten times as fast': faster.comparison,
      'ten times as slow': slower.comparison,
      'misleading progress': misleading,
      'error storms': stormy,
      [`a shared budget of ${rounded(budgetPerS)} requests/s, a sixth of fixed 5 s`]: shared,
      [`progress that is followed: ${updates.ours} of ${updates.there} updates seen`]:
        updates.comparison,
    },
    gates: [
      atMost('ten times as fast: runs until below backoff', '', faster.relearned, RELEARNED),
      atMost('ten times as slow: runs until below backoff', '', slower.relearned, RELEARNED),
      belowBackoff('misleading progress', misleading, 'runwatch normal'),
      belowBackoff('error storms', stormy, 'runwatch normal'),
      belowBackoff('shared budget', shared, 'runwatch urgent'),
      {
        name: 'progress that is followed: updates, by backoff that restarts 1',
        value: rounded(updates.ours / updates.restarting),
        unit: '',
        target: { atLeast: 1 },
      },
    ],
  };
}

/** How many runs there are at a time. */
function activeOnAverage(runs: TracedRun[]): number {
  const created = runs.map((run) => run.created);
  const lasted = runs.reduce((sum, run) => sum + run.finished - run.created, 0);
  return lasted / (Math.max(...created) - Math.min(...created));
}

function belowBackoff(what: string, comparison: Comparison, ours: string): Figure {
  const { mean = Infinity } = comparison[ours] ?? {};
  return atMost(`${what}: mean delay`, 's', mean, comparison[BACKOFF.name]?.mean ?? 0);
}
