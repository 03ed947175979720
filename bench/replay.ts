import type { Profile } from '../src/core/watch.ts';
import { BACKOFF, FIXED } from './replay/baselines.ts';
import { replay } from './replay/replay.ts';
import type { Memory } from './replay/runwatch.ts';
import {
  compare,
  copyOf,
  firstOf,
  replayOurs,
  shifted,
  storms,
  tuned,
  updatesSeen,
  type Comparison,
} from './replay/scenarios.ts';
import { summarize, type Summary } from './replay/summary.ts';
import { readTrace } from './replay/trace.ts';
import { workload } from './replay/workload.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';

/** Runs of each of the seven kinds. */
const RUNS = 1_500;

/** Runs of each kind where the conditions change. */
const FEWER_RUNS = 400;

interface ReplayBenchOptions {
  seed: number;
  /** Runs of each kind; fewer for a quick look. */
  runs?: number;
  /** With any of these, only the comparison that they ask for is made, and nothing is judged. */
  profile?: Profile | undefined;
  budgetPerS?: number | undefined;
  trace?: string | undefined;
}

/**
 * What the polling policy comes to: the daemon's own rules on a virtual clock, beside fixed polling
 * every 5 s and backoff from 1 s × 1.5 to 60 s, on the same runs.
 */
export async function benchReplay(options: ReplayBenchOptions): Promise<BenchResult> {
  const { seed, profile, budgetPerS, trace, runs = RUNS } = options;
  if (profile === undefined && budgetPerS === undefined && trace === undefined)
    return judge(seed, runs);
  const replayed = trace === undefined ? workload({ seed, runs }) : await readTrace(trace);
  const conditions = budgetPerS === undefined ? {} : { budgetPerS };
  const comparison = compare(replayed, { seed, profile: profile ?? 'normal' }, conditions);
  const name = trace ?? 'seven kinds of workflow';
  return { figures: [], details: { [name]: comparison }, text: tableOf(name, comparison) };
}

function judge(seed: number, runs: number): BenchResult {
  const steady = workload({ seed, runs });
  const fixed = summarize(replay(steady, FIXED).seen);
  const backoffRuns = replay(steady, BACKOFF).seen;
  const backoff = summarize(backoffRuns);
  const { summary: sixth, dearness } = tuned(steady, seed, fixed);
  const frugal = summarize(replayOurs(steady, { seed, profile: 'frugal' }).seen);
  const memory: Memory = new Map();
  const normalRuns = replayOurs(steady, { seed, profile: 'normal', memory }).seen;
  const cold = {
    ours: summarize(firstOf(normalRuns, 20)),
    backoff: summarize(firstOf(backoffRuns, 20)),
  };
  const changing = underChange(seed, runs, memory);
  const tables: Record<string, Comparison> = {
    'seven kinds of workflow': {
      [FIXED.name]: fixed,
      [BACKOFF.name]: backoff,
      'runwatch normal': summarize(normalRuns),
      'runwatch frugal': frugal,
      [`runwatch at ${rounded(0.05 * dearness)} s of delay a request`]: sixth,
    },
    'the first 20 runs of each kind': {
      [BACKOFF.name]: cold.backoff,
      'runwatch normal': cold.ours,
    },
    ...changing.tables,
  };
  const gates: Figure[] = [
    atMost(
      'requests at the price that gives a sixth of fixed 5 s',
      sixth.requestsPerRun,
      fixed.requestsPerRun / 6,
      '/run',
    ),
    atMost('mean delay at that price', sixth.mean, fixed.mean, 's'),
    atMost('requests, frugal', frugal.requestsPerRun, 1.15 * backoff.requestsPerRun, '/run'),
    atMost('mean delay, frugal', frugal.mean, 0.4 * backoff.mean, 's'),
    atMost('p95 of the delay, frugal', frugal.p95, 0.5 * backoff.p95, 's'),
    atMost(
      'mean delay of the first 20 runs of each kind, normal',
      cold.ours.mean,
      cold.backoff.mean,
      's',
    ),
    ...changing.gates,
  ];
  const text = Object.entries(tables)
    .map(([name, rows]) => tableOf(name, rows))
    .join('\n');
  return { figures: gates, details: tables, text };
}

/** What becomes of the policy when what it has learned is wrong, or what it sees. */
function underChange(seed: number, runs: number, memory: Memory) {
  const fewer = Math.min(runs, FEWER_RUNS);
  const from = runs * 1_000;
  const faster = shifted(memory, { seed, runs: fewer, scale: 0.1, from });
  const slower = shifted(memory, { seed, runs: fewer, scale: 10, from });
  const ours = { seed, profile: 'normal' as const };
  const misled = workload({ seed: seed + 2, runs: fewer, from, progress: 'misleading' });
  const misleading = compare(misled, { ...ours, memory: copyOf(memory) });
  const some = workload({ seed: seed + 3, runs: fewer });
  const stormy = compare(some, ours, { fails: storms(seed) });
  const budgetPerS =
    some.reduce((sum, run) => sum + run.finished - run.created, 0) / 30 / spanOf(some);
  const shared = compare(some, { ...ours, profile: 'urgent' }, { budgetPerS });
  const updates = updatesSeen(some, seed);
  return {
    tables: {
      'all ten times as fast': faster.comparison,
      'all ten times as slow': slower.comparison,
      'misleading progress': misleading,
      'error storms': stormy,
      [`a shared budget of ${rounded(budgetPerS)} requests/s, a sixth of what fixed 5 s needs`]:
        shared,
      [`followers of progress, who see ${updates.ours} updates; ${updates.restarting} by that backoff; of ${updates.there}`]:
        updates.comparison,
    },
    gates: [
      atMost(
        'runs of a kind until below backoff again, ten times as fast',
        faster.recoveredAfter,
        160,
        'runs',
      ),
      atMost(
        'runs of a kind until below backoff again, ten times as slow',
        slower.recoveredAfter,
        160,
        'runs',
      ),
      ...belowBackoff('misleading progress', misleading, 'runwatch normal'),
      ...belowBackoff('error storms', stormy, 'runwatch normal'),
      ...belowBackoff('shared budget', shared, 'runwatch urgent'),
      {
        name: 'updates that followers see, of those that backoff sees',
        value: rounded(updates.ours / updates.restarting),
        unit: '',
        target: { atLeast: 1 },
      },
    ],
  };
}

function spanOf(runs: { created: number }[]): number {
  const begun = runs.map(({ created }) => created);
  return Math.max(...begun) - Math.min(...begun);
}

function belowBackoff(what: string, comparison: Comparison, ours: string): Figure[] {
  const [our, other] = [comparison[ours], comparison[BACKOFF.name]];
  return our && other ? [atMost(`mean delay, ${what}`, our.mean, other.mean, 's')] : [];
}

function atMost(name: string, value: number, bound: number, unit: string): Figure {
  return { name, value: rounded(value), unit, target: { atMost: rounded(bound) } };
}

const COLUMNS = ['requests/run', 'mean', 'p50', 'p95', 'p99', 'worst mean'];

function tableOf(name: string, rows: Comparison): string {
  const width = Math.max(...Object.keys(rows).map((policy) => policy.length));
  const lines = Object.entries(rows).map(
    ([policy, summary]) => `  ${policy.padEnd(width)}${cells(summary).map(right).join('')}`,
  );
  return [name, `  ${''.padEnd(width)}${COLUMNS.map(right).join('')}`, ...lines, ''].join('\n');
}

const right = (text: string) => text.padStart(15);

function cells({ requestsPerRun, mean, p50, p95, p99, worst }: Summary): string[] {
  const seconds = [mean, p50, p95, p99].map((value) => `${value.toFixed(2)} s`);
  return [requestsPerRun.toFixed(1), ...seconds, `${worst.mean.toFixed(1)} s ${worst.workflow}`];
}
