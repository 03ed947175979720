import { playBurst } from './budget/burst.ts';
import { SCALED, playLive, type LiveCell } from './budget/live.ts';
import { playVirtual, type VirtualCell } from './budget/virtual.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';

const RUNS = [500, 1_000, 2_000, 4_000];

/** Workflows that the runs are spread over; the last of them with four runs each. */
const workflowsOf = (runs: number) => [1, 5, 20, runs / 4];

/** Bounds of the delay by the number of runs, s. */
const BOUNDS: Partial<Record<number, { p95: number; max: number }>> = {
  2_000: { p95: 1.5, max: 5 },
  4_000: { p95: 8, max: Infinity },
};

/** Of five runs on a list, one is watched: a sweep takes five times the pages. */
const OTHERS = 4;
const BOUND_WITH_OTHERS_S = 2.5;

/** Runs that fail at once, and the bound of their p95, s. */
const BURSTS = [
  { runs: 300, boundS: 3 },
  { runs: 2_000, boundS: 8 },
];

interface BudgetOptions {
  seed: number;
  /** With any of these, only that cell is played, by a built daemon, and nothing is judged. */
  runs?: number | undefined;
  workflows?: number | undefined;
}

/**
 * What polling can do when there are more runs than requests, ten times faster than life: 100
 * requests a second, runs of 30 to 90 s. By the daemon's own rules on a virtual clock, beside single
 * polls and the limit by arithmetic; one cell by a built daemon.
 */
export async function benchBudget({ seed, runs, workflows }: BudgetOptions): Promise<BenchResult> {
  if (runs !== undefined || workflows !== undefined) {
    return liveResult({ runs: runs ?? 2_000, workflows: workflows ?? 1, seed });
  }
  const figures = RUNS.flatMap((count) =>
    workflowsOf(count).flatMap((of) => judged({ runs: count, workflows: of, batch: true, seed })),
  );
  const singly = playVirtual({ runs: 2_000, workflows: 1, batch: false, seed });
  const others = [1, 500].map((of) => withOthers(of, seed));
  return {
    figures: [
      ...figures,
      { name: '2000 runs, no lists: p95 of the delay', value: rounded(singly.p95), unit: 's' },
      ...others,
      ...(await bursts()),
    ],
    details: {},
  };
}

function judged(cell: VirtualCell): Figure[] {
  const { p50, p95, max, requestsPerRun } = playVirtual(cell);
  const name = `${cell.runs} runs of ${cell.workflows} workflows`;
  const bound = BOUNDS[cell.runs];
  return [
    {
      name: `${name}: p95 of the delay`,
      value: rounded(p95),
      unit: `s (p50 ${rounded(p50)}, at best ${rounded(limitS(cell.runs))}, ${rounded(requestsPerRun)} requests/run)`,
      ...(bound !== undefined && { target: { atMost: bound.p95 } }),
    },
    ...(bound === undefined || bound.max === Infinity
      ? []
      : [
          {
            name: `${name}: the longest delay`,
            value: rounded(max),
            unit: 's',
            target: { atMost: bound.max },
          },
        ]),
  ];
}

/**
 * The p95 that arithmetic allows: each end takes one confirming read, and what is left sweeps the
 * pages of the source's list again and again.
 */
function limitS(runs: number): number {
  const ends = runs / (SCALED.mostS - SCALED.leastS);
  return (0.95 * Math.ceil(runs / 100)) / Math.max(1, SCALED.requestsPerS - ends);
}

function withOthers(workflows: number, seed: number): Figure {
  const { p95 } = playVirtual({ runs: 2_000, workflows, batch: true, others: OTHERS, seed });
  return {
    name: `2000 runs of ${workflows} workflows, one run in five watched: p95 of the delay`,
    value: rounded(p95),
    unit: 's',
    target: { atMost: BOUND_WITH_OTHERS_S },
  };
}

async function bursts(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const { runs, boundS } of BURSTS) {
    const { p50, p95, seen } = await playBurst(runs);
    figures.push({
      name: `${runs} runs fail within a second at 10 requests/s, a built daemon: p95 of the delay`,
      value: rounded(p95),
      unit: `s (p50 ${rounded(p50)}, ${seen} seen)`,
      target: { atMost: boundS },
    });
  }
  return figures;
}

async function liveResult(cell: LiveCell): Promise<BenchResult> {
  const { p50, p95, max, seen, requests, lists, cpuShare } = await playLive(cell);
  const figure = (name: string, value: number, unit: string): Figure => ({
    name: `${cell.runs} runs of ${cell.workflows} workflows, a built daemon: ${name}`,
    value: rounded(value),
    unit,
  });
  return {
    figures: [
      figure('p50 of the delay', p50, 's'),
      figure('p95 of the delay', p95, 's'),
      figure('the longest delay', max, 's'),
      figure('ends that were seen', seen, ''),
      figure('requests', requests, ''),
      figure('of these for lists', lists, ''),
      figure('share of a core', cpuShare, ''),
    ],
    details: {},
  };
}
