import { playBurst, playLies, REQUESTS_PER_S } from './budget/burst.ts';
import { SCALED, playLive, type LiveCell } from './budget/live.ts';
import { playMany } from './budget/many.ts';
import { playPace } from './budget/pace.ts';
import { playSteady } from './budget/steady.ts';
import { playWaits } from './budget/waits.ts';
import { playSteadyVirtual, playVirtual, type VirtualCell } from './budget/virtual.ts';
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

/** Of ten runs on the source's list, one is of the workflow that is watched, which has a list of its own. */
const FOREIGN = 9;
const BOUND_BESIDE_FOREIGN_S = 1.5;

/**
 * Of runs that keep coming, a thousand are watched at a time, and their lists move on while they are read. One that is
 * left alone on the last page may just have moved there when it ends: it waits for two of the longest intervals.
 */
const COMING = { runs: 2_500, beginS: 150 };
const COMING_BOUND = { p95: 1.5, max: (2 * SCALED.maxIntervalMs) / 1_000 };

/** Runs that fail at once. When the first of them, and all beyond what the limit takes, have events, s. */
const BURST = { runs: 300, firstS: 2, beyondS: 5 };

/** Runs of one workflow that end over a minute, beside which a daemon does something else. */
const LIVE = { runs: 2_000, workflows: 1 };
const LIVE_BOUND = { p95: 1.5, max: 5 };

/** Runs in a list carry large documents. */
const LARGE_ITEM_BYTES = 20 * 1_024;
const LARGE_BOUND_S = 5;

/** A list says of one run in so many that it has failed. */
const LIES = { runs: 2_000, oneIn: 50 };

/** Watches of a source that would need three times the requests that it allows. */
const STEADY = { runs: 600, requestsPerS: 200 };
const USED_SHARE = 0.95;

/**
 * Where answers are slow, a request counts for a tenth of the limit's period longer: until it has
 * arrived for certain. So 0.91 is the most that can be used.
 */
const SLOW_USED_SHARE = 0.88;

/** Beside a fast source, one that answers after so long, ms; with watches enough to keep it busy. */
const SLOW_MS = [1_000, 3_000];
const SLOW = { runs: 500, requestsPerS: 100 };

/** A limit of a longer period may tell ends so much later than one of the same rate by the second. */
const LIKE_PER_SECOND = 1.2;

const MANY_RUNS = 20_000;

/** Runs that go on beside those that wait for a human. */
const BESIDE_WAITS = [100, 0];

/** Parts of the bench: all but the first two by built daemons, in life's time. */
const PARTS = { virtual, pace, burst, lies, daemons, large, interval, slow, waits, many };

export const BUDGET_CELLS = Object.keys(PARTS);

interface BudgetOptions {
  seed: number;
  /** Names of {@link BUDGET_CELLS}. */
  cells?: readonly string[] | undefined;
  /** With any of these, only that cell is played, by a built daemon, and nothing is judged. */
  runs?: number | undefined;
  workflows?: number | undefined;
}

/**
 * What polling can do when there are more runs than requests, ten times faster than life: 100
 * requests a second, runs of 30 to 90 s. By the daemon's own rules on a virtual clock, beside single
 * polls and the limit by arithmetic; one cell by a built daemon.
 */
export async function benchBudget({
  seed,
  cells = BUDGET_CELLS,
  runs,
  workflows,
}: BudgetOptions): Promise<BenchResult> {
  if (runs !== undefined || workflows !== undefined) {
    return liveResult({ runs: runs ?? 2_000, workflows: workflows ?? 1, seed });
  }
  const figures: Figure[] = [];
  for (const [name, play] of Object.entries(PARTS)) {
    if (cells.includes(name)) figures.push(...(await play(seed)));
  }
  return { figures, details: {} };
}

function virtual(seed: number): Figure[] {
  const figures = RUNS.flatMap((count) =>
    workflowsOf(count).flatMap((of) => judged({ runs: count, workflows: of, lists: true, seed })),
  );
  const singly = playVirtual({ runs: 2_000, workflows: 1, lists: false, seed });
  const others = [1, 500].map((of) => withOthers(of, seed));
  return [
    ...figures,
    { name: '2000 runs, no lists: p95 of the delay', value: rounded(singly.p95), unit: 's' },
    ...others,
    besideForeign(seed),
    ...coming({ workflows: 1, seed }),
    ...coming({ workflows: 500, seed }),
    ...coming({ workflows: 1, others: OTHERS, seed }),
    {
      name: `${STEADY.runs} watches with max_interval 1 s at ${STEADY.requestsPerS} requests/s, no lists: share of the rate limit that is used`,
      value: rounded(playSteadyVirtual({ ...STEADY, maxIntervalMs: 1_000, lastsS: 120 }, seed)),
      unit: '',
      target: { atLeast: USED_SHARE },
    },
  ];
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
  const { p95 } = playVirtual({ runs: 2_000, workflows, lists: true, others: OTHERS, seed });
  return {
    name: `2000 runs of ${workflows} workflows, one run in five watched: p95 of the delay`,
    value: rounded(p95),
    unit: 's',
    target: { atMost: BOUND_WITH_OTHERS_S },
  };
}

function besideForeign(seed: number): Figure {
  const { p95 } = playVirtual({ runs: 1_000, workflows: 1, lists: true, foreign: FOREIGN, seed });
  return {
    name: '1000 runs of 1 workflow, nine runs of another one for each: p95 of the delay',
    value: rounded(p95),
    unit: 's',
    target: { atMost: BOUND_BESIDE_FOREIGN_S },
  };
}

function coming(of: Pick<VirtualCell, 'workflows' | 'others' | 'seed'>): Figure[] {
  const { p50, p95, max, requestsPerRun } = playVirtual({ ...COMING, lists: true, ...of });
  const watched = of.others === undefined ? '' : ', one run in five watched';
  const name = `runs of ${of.workflows} workflows that keep coming, 1000 at a time${watched}`;
  return [
    {
      name: `${name}: p95 of the delay`,
      value: rounded(p95),
      unit: `s (p50 ${rounded(p50)}, ${rounded(requestsPerRun)} requests/run)`,
      target: { atMost: of.others === undefined ? COMING_BOUND.p95 : BOUND_WITH_OTHERS_S },
    },
    {
      name: `${name}: the longest delay`,
      value: rounded(max),
      unit: 's',
      target: { atMost: COMING_BOUND.max },
    },
  ];
}

async function pace(seed: number): Promise<Figure[]> {
  const cells = await playPace(seed);
  return cells.map(({ name, p95, perSecond, spacingS, requestsPerRun }) => ({
    name: `${name}: p95 of the delay`,
    value: rounded(p95),
    unit: `s (at the same rate per second ${rounded(perSecond)}, ${rounded(requestsPerRun)} requests/run)`,
    target: { atMost: rounded(Math.max(LIKE_PER_SECOND * perSecond, spacingS)) },
  }));
}

async function burst(): Promise<Figure[]> {
  const { runs, firstS, beyondS } = BURST;
  const { first, p50, p95, all, seen, pageShare } = await playBurst(runs);
  const name = `${runs} runs fail within a second at ${REQUESTS_PER_S} requests/s, a built daemon`;
  return [
    {
      name: `${name}: until the first five have their events`,
      value: rounded(first),
      unit: 's',
      target: { atMost: firstS },
    },
    {
      name: `${name}: until all have their events`,
      value: rounded(all),
      unit: `s (p50 of the delay ${rounded(p50)}, p95 ${rounded(p95)}, ${seen} seen)`,
      target: { atMost: runs / REQUESTS_PER_S + beyondS },
    },
    { name: `${name}: share of the requests that read pages`, value: rounded(pageShare), unit: '' },
  ];
}

async function lies(): Promise<Figure[]> {
  const { lies: said, events } = await playLies(LIES.runs, LIES.oneIn);
  return [
    {
      name: `a list says of ${said} running runs that they failed: events`,
      value: events,
      unit: '',
      target: { atMost: 0 },
    },
  ];
}

async function daemons(seed: number): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const count of [1, 3]) {
    const { p50, p95, max, seen, cpuShare } = await playLive({ ...LIVE, daemons: count, seed });
    const name = `${LIVE.runs} runs, ${count === 1 ? 'a built daemon' : `${count} built daemons`}`;
    figures.push(
      {
        name: `${name}: p95 of the delay`,
        value: rounded(p95),
        unit: `s (p50 ${rounded(p50)}, ${seen} seen, ${rounded(cpuShare)} of a core)`,
        target: { atMost: LIVE_BOUND.p95 },
      },
      {
        name: `${name}: the longest delay`,
        value: rounded(max),
        unit: 's',
        target: { atMost: LIVE_BOUND.max },
      },
    );
  }
  return figures;
}

async function large(seed: number): Promise<Figure[]> {
  const cell = { ...LIVE, itemBytes: LARGE_ITEM_BYTES, seed };
  const { p50, p95, seen, lists, cpuShare } = await playLive(cell);
  const name = `${LIVE.runs} runs of ${LARGE_ITEM_BYTES / 1_024} KiB in a list, a built daemon`;
  return [
    {
      name: `${name}: p95 of the delay`,
      value: rounded(p95),
      unit: `s (p50 ${rounded(p50)}, ${seen} seen, ${lists} pages)`,
      target: { atMost: LARGE_BOUND_S },
    },
    { name: `${name}: share of a core`, value: rounded(cpuShare), unit: '' },
  ];
}

async function interval(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const lists of ['off', 'auto'] as const) {
    const sources = [{ name: 'default', answerMs: 0 }];
    const [result] = await playSteady({ ...STEADY, sources, lists });
    const name = `${STEADY.runs} watches with max_interval 1 s at ${STEADY.requestsPerS} requests/s`;
    const { usedShare = 0, wait } = result ?? {};
    figures.push(
      lists === 'off'
        ? {
            name: `${name}, no lists: share of the rate limit that is used`,
            value: rounded(usedShare),
            unit: `(the longest wait: p50 ${rounded(wait?.p50 ?? NaN)} s, p95 ${rounded(wait?.p95 ?? NaN)} s)`,
            target: { atLeast: USED_SHARE },
          }
        : {
            name: `${name}, by lists: share of the rate limit that is used`,
            value: rounded(usedShare),
            unit: '',
          },
    );
  }
  return figures;
}

async function slow(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const answerMs of SLOW_MS) {
    const sources = [
      { name: 'slow', answerMs },
      { name: 'fast', answerMs: 0 },
    ];
    for (const one of await playSteady({ ...SLOW, sources, lists: 'off' })) {
      figures.push({
        name: `${one.name} source, where one answers in ${answerMs / 1_000} s: share of its rate limit that is used`,
        value: rounded(one.usedShare),
        unit: `(the longest wait: p50 ${rounded(one.wait.p50)} s)`,
        target: { atLeast: one.name === 'slow' ? SLOW_USED_SHARE : USED_SHARE },
      });
      figures.push({
        name: `${one.name} source, where one answers in ${answerMs / 1_000} s: most requests within a second`,
        value: one.most,
        unit: '',
        target: { atMost: SLOW.requestsPerS },
      });
    }
  }
  return figures;
}

async function waits(): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const others of BESIDE_WAITS) {
    const found = await playWaits(others);
    const name = `${found.of} runs that wait beside ${others} that go on, at 10 requests/s`;
    figures.push(
      {
        name: `${name}: p50 from an answer to run.resumed`,
        value: rounded(found.p50),
        unit: `s (p95 ${rounded(found.p95)}, longest ${rounded(found.max)}, ${found.seen} seen)`,
      },
      {
        name: `${name}: requests`,
        value: rounded(found.requestsPerS),
        unit: `/s (of each that waits ${rounded(found.readsPerHour)} an hour)`,
      },
    );
  }
  return figures;
}

async function many(): Promise<Figure[]> {
  const found = await playMany(MANY_RUNS);
  const figure = (name: string, value: number, unit: string): Figure => ({
    name: `${MANY_RUNS} runs of one source, one process: ${name}`,
    value: rounded(value),
    unit,
  });
  const { first, later } = found;
  return [
    figure('registrations', found.registrationsPerS, '/s'),
    figure(
      'p95 from registration to the events of runs that had ended',
      first.p95,
      `s (p50 ${rounded(first.p50)}, longest ${rounded(first.max)}, ${first.seen} of ${first.of} seen)`,
    ),
    figure(
      'p95 of the delay',
      later.p95,
      `s (p50 ${rounded(later.p50)}, ${later.seen} of ${later.of} seen)`,
    ),
    figure('the longest delay', later.max, 's'),
    figure('requests', found.requestsPerS, '/s of 100'),
    figure('share of a core', found.cpuShare, ''),
    figure('share of a core for Redis', found.redisCpuShare, ''),
    figure('Redis commands, those in scripts included', found.commandsPerS, '/s'),
    figure('memory', found.rssMb, 'MB'),
    figure('memory of Redis per watch', found.redisBytesPerWatch, 'bytes'),
  ];
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
