import { groupBy } from '../src/core/arrays.ts';
import { chanceIn } from './support/chance.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { percentile, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { departureFigures } from './streams/departure.ts';
import { hostileFigures } from './streams/hostile.ts';
import { waitFigures } from './streams/wait.ts';
import {
  openStage,
  play,
  requestsPerRun,
  type Behaviour,
  type Cell,
  type Played,
  type Spell,
} from './streams/play.ts';

const cell = (
  runs: number,
  lifeS: number,
  eventsPerS: number,
  does: Behaviour = 'all',
): [string, Cell] => [
  `${runs}x${lifeS}s-${eventsPerS}-${does}`,
  { runs, lifeS, eventsPerS, does, limit: Math.max(10, Math.ceil((runs * wanted(lifeS)) / lifeS)) },
];

/** Requests of a run for which the limit has room: a streamed one has a read in two minutes at least. */
function wanted(lifeS: number): number {
  return Math.max(8, lifeS / 30);
}

const AT_ONCE = 'at-once';
const HELD = 'held';
const HINT_STREAMS = 1_000;

const CELLS = new Map<string, Cell>([
  ['20x60s-cold', { runs: 20, lifeS: 10, eventsPerS: 5, does: 'all', isCold: true, limit: 10 }],
  cell(20, 5, 5),
  cell(200, 5, 5),
  cell(200, 60, 5),
  cell(200, 60, 0.2, 'ends'),
  cell(200, 60, 5, 'ends'),
  cell(200, 5, 5, 'ends'),
  cell(200, 5, 5, 'nothing'),
  cell(200, 60, 5, 'lies'),
  cell(200, 60, 5, 'breaks'),
  cell(200, 5, 5, 'breaks'),
  cell(200, 60, 5, '404'),
  cell(200, 60, 5, 'hangs'),
  cell(1_000, 60, 0.2),
  cell(1_000, 600, 0.2),
  cell(2_000, 60, 0.2),
  cell(2_000, 600, 0.2, 'ends'),
  [AT_ONCE, { runs: 1_000, lifeS: 75, eventsPerS: 0.2, does: 'all', limit: 40, workflows: 1_000 }],
  [HELD, { runs: 1_000, lifeS: 6_000, eventsPerS: 1, does: 'all', limit: 250, eventBytes: 1_600 }],
]);

/** Cells that are played at once: those of a group take a core at most. All others go alone. */
const SIDE_BY_SIDE = [
  ['20x60s-cold', '20x5s-5-all'],
  ['200x60s-5-all', '200x60s-0.2-ends', '200x60s-5-ends'],
  ['200x5s-5-nothing', '200x5s-5-breaks'],
  ['200x60s-5-lies', '200x60s-5-breaks', '200x60s-5-404', '200x60s-5-hangs'],
  ['1000x600s-0.2-all', AT_ONCE],
  ['wait', 'killed'],
  ['500-killed', '500-restarted'],
];

const SPECIAL = new Map<string, (context: BenchContext) => Promise<Figure[]>>([
  ['hostile', hostileFigures],
  ['wait', waitFigures],
  [
    'killed',
    (context) =>
      departureFigures(context, 'killed', {
        how: 'killed',
        runs: 20,
        limit: 10,
        ends: 20,
        withinS: 0,
      }),
  ],
  ...(['killed', 'restarted'] as const).map(
    (how): [string, (context: BenchContext) => Promise<Figure[]>] => [
      `500-${how}`,
      (context) =>
        departureFigures(context, `500-${how}`, {
          how,
          runs: 500,
          limit: 50,
          ends: 100,
          withinS: 20,
        }),
    ],
  ),
]);

export const STREAM_CELLS = [...CELLS.keys(), ...SPECIAL.keys()];

/** Delays below this are alike, s. */
const ALIKE_S = 0.1;

/**
 * Streams beside the same load without: a daemon with `hints: auto` and one with `off`, each on a fake
 * Noxus of its own, at once. Runs that end are followed by others; what is measured are 20 s in the
 * middle, or until 80 have ended, after 30 short runs.
 */
export async function benchStreams(names: readonly string[] = STREAM_CELLS): Promise<BenchResult> {
  const figures: Figure[] = [];
  const details: Record<string, unknown> = {};
  for (const group of groupsOf(names)) {
    for (const one of await Promise.all(group.map(playCell))) {
      figures.push(...one.figures);
      Object.assign(details, one.details);
    }
  }
  return { figures, details };
}

/** Cells in their order, each with those of its group that are played, too. */
function groupsOf(names: readonly string[]): string[][] {
  const groups = groupBy(
    names,
    (name) => SIDE_BY_SIDE.find((some) => some.includes(name))?.join() ?? name,
  );
  return [...groups.values()];
}

async function playCell(name: string): Promise<BenchResult> {
  const special = SPECIAL.get(name);
  if (special !== undefined) return { figures: await withContext(special), details: {} };
  const one = CELLS.get(name);
  if (one === undefined) throw new Error(`no cell is named ${name}`);
  const [auto, off] = await withContext(async (context) => {
    // So that the two differ in memory by the streams alone.
    const isGrown = name === HELD;
    const stages = await Promise.all([
      openStage(context, one, { hints: 'auto', isGrown }),
      openStage(context, one, { hints: 'off', isGrown }),
    ]);
    return Promise.all([play(one, stages[0]), play(one, stages[1])]);
  });
  const figures = (name === HELD ? heldFigures : judged)(name, one, { auto, off });
  return { figures, details: { [name]: { auto, off } } };
}

/** What at most a figure may be, and how much of that is left to chance. */
interface Bound {
  atMost: number;
  chance: number;
}

function judged(name: string, one: Cell, { auto, off }: Record<'auto' | 'off', Played>): Figure[] {
  const bounds = boundsOf(name, one, { auto, off });
  const { p50, p95, max, firstRead, rssMb, cpuShare, ended, told } = auto;
  const s = (value: number) => String(rounded(value));
  const figure = (what: string, value: number, unit: string, bound?: Bound): Figure => ({
    name: `${name}: ${what}`,
    value: rounded(value),
    unit: bound && bound.chance > 0 ? `${unit}, bound + ${s(bound.chance)} for chance` : unit,
    ...(bound && { target: { atMost: rounded(bound.atMost + bound.chance) } }),
  });
  return [
    figure(
      'requests per run',
      auto.requestsPerRun,
      `(off ${s(off.requestsPerRun)}; ${s(auto.openingsPerRun)} openings, ${s(auto.pagesPerRun)} pages, off ${s(off.pagesPerRun)}; ${told} of ${ended} told)`,
      bounds.requests,
    ),
    figure('delay p50', p50, `s (off ${s(off.p50)})`, bounds.p50),
    figure(
      'delay p95',
      p95,
      `s (off ${s(off.p95)}; max ${s(max)}, off ${s(off.max)}; first read ${s(firstRead)}, off ${s(off.firstRead)})`,
      bounds.p95,
    ),
    figure(
      'CPU',
      100 * cpuShare,
      `% of a core (off ${s(100 * off.cpuShare)}; ${s(rssMb)} MB, off ${s(off.rssMb)})`,
    ),
  ];
}

/**
 * What a process takes for the streams that it holds. How much more the system has given it is up to
 * V8, which gives pages back when it likes to: that differs by 100 MB from one time to the next.
 */
function heldFigures(name: string, { runs }: Cell, { auto, off }: Record<'auto' | 'off', Played>) {
  const of = `(${auto.open} of ${runs} open, each an event of 2 KiB a second; RSS ${rounded(auto.rssMb)}, off ${rounded(off.rssMb)})`;
  return [
    {
      name: `${name}: memory of streams`,
      value: rounded((auto.heldMb ?? Infinity) - (off.heldMb ?? 0)),
      unit: `MB ${of}`,
      target: { atMost: 60 },
    },
    {
      name: `${name}: CPU of streams`,
      value: rounded(100 * (auto.cpuShare - off.cpuShare)),
      unit: `% of a core (${rounded(100 * auto.cpuShare)} in all)`,
      target: { atMost: 25 },
    },
  ];
}

/**
 * A cell without bounds of its own may be no worse than without streams. Of two daemons that both have none, one is
 * worse: by so much as chance may make it, it is not worse.
 */
function boundsOf(
  name: string,
  one: Cell,
  { auto, off }: Record<'auto' | 'off', Played>,
): Partial<Record<'requests' | 'p50' | 'p95', Bound>> {
  const exactly = (atMost: number): Bound => ({ atMost, chance: 0 });
  const beside = (of: (spells: readonly Spell[]) => number, most: (off: number) => number) => ({
    atMost: most(of(off.spells)),
    chance: chanceIn([auto.spells, off.spells], ([a, b]) => of(a) - most(of(b))),
  });
  const late = (share: number) =>
    beside(
      (spells) =>
        percentile(
          spells.flatMap(({ delays }) => delays),
          share,
        ),
      noLater,
    );
  if (name === AT_ONCE) return { p50: late(0.5), p95: exactly(3) };
  if (isGood(one)) {
    return { requests: exactly(4 + one.lifeS / 120), p50: exactly(0.05), p95: exactly(0.25) };
  }
  const oneMore = (without: number) => without + 1;
  return {
    // From the first to the last request of all runs, the count is exact.
    requests: one.isCold ? exactly(oneMore(off.requestsPerRun)) : beside(requestsPerRun, oneMore),
    p50: late(0.5),
    p95: late(0.95),
  };
}

function isGood({ does, runs }: Cell): boolean {
  return does === 'all' && runs >= 200 && runs <= HINT_STREAMS;
}

function noLater(without: number): number {
  return Math.max(without * 1.1, ALIKE_S);
}
