import type { Profile } from '../src/core/watch/watch.ts';
import { judgeLists } from './replay/judge-lists.ts';
import { judgeChange } from './replay/judge-change.ts';
import { judgeOracle } from './replay/judge-oracle.ts';
import { judgeSteady } from './replay/judge-steady.ts';
import { compare } from './replay/scenarios.ts';
import { tableOf } from './replay/table.ts';
import { readTrace } from './replay/trace.ts';
import { workload } from './replay/workload.ts';
import type { BenchResult } from './support/figures.ts';

/** The share of the runs that suffices where conditions change. */
const CHANGED_SHARE = 0.25;

interface ReplayBenchOptions {
  seed: number;
  /** Runs of each of the seven kinds. */
  runs: number;
  /** With any of these, the bench makes only the requested comparison, without a judgement. */
  profile?: Profile | undefined;
  budgetPerS?: number | undefined;
  /** Whether our policy is replayed a second time, with list feeds. */
  lists: boolean;
  /** A file of runs, see `replay/trace.ts`. */
  trace?: string | undefined;
}

/**
 * How well the polling policy does: the daemon's own rules on a virtual clock. The comparison on
 * the same runs is fixed polling every 5 s, and backoff from 1 s × 1.5 to 60 s. The same seed gives
 * the same figures on every machine. The first target is judged at one price of a request, between
 * the profiles urgent and normal. At that price the policy sends a sixth of the requests of fixed
 * polling.
 */
export async function benchReplay(options: ReplayBenchOptions): Promise<BenchResult> {
  const { profile, budgetPerS, lists, trace } = options;
  const asked = [profile, budgetPerS, trace].some((one) => one !== undefined) || lists;
  return asked ? compareOnly(options) : judge(options);
}

async function compareOnly(options: ReplayBenchOptions): Promise<BenchResult> {
  const { seed, profile = 'normal', budgetPerS, lists, trace } = options;
  const replayed = trace === undefined ? workload(options) : await readTrace(trace);
  const name = trace ?? 'seven kinds of workflow';
  const comparison = compare(
    replayed,
    { seed, profile, lists },
    budgetPerS === undefined ? {} : { budgetPerS },
  );
  return { figures: [], details: { [name]: comparison }, text: tableOf(name, comparison) };
}

function judge({ seed, runs }: ReplayBenchOptions): BenchResult {
  const steady = judgeSteady({ seed, runs });
  const fewer = Math.ceil(runs * CHANGED_SHARE);
  const change = judgeChange({ seed, runs: fewer, memory: steady.memory });
  const together = judgeLists({ seed, memory: steady.memory });
  const beside = judgeOracle({ seed, runs, ours: steady.ours });
  const tables = { ...steady.tables, ...change.tables, ...together.tables, ...beside.tables };
  return {
    figures: [...steady.gates, ...change.gates, ...together.gates, ...beside.gates],
    details: tables,
    text: Object.entries(tables)
      .map(([name, comparison]) => tableOf(name, comparison))
      .join('\n'),
  };
}
