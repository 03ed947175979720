import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../../test/support/wait-for.ts';
import type { BenchContext } from '../support/context.ts';
import { startDaemon } from '../support/daemon.ts';
import { percentile, rounded, type Figure } from '../support/figures.ts';
import { openStage, type Cell } from './play.ts';

/** How a process that listens to streams leaves. */
type Departure = 'killed' | 'restarted';

interface DepartureCell extends Pick<Cell, 'runs' | 'limit'> {
  how: Departure;
  /** How many of the runs end, and over which time from the departure on, s. */
  ends: number;
  withinS: number;
}

const WARM_RUNS = 30;
const WARM_MS = 2_000;

/** How long all streams may take to open, and to open again, ms. */
const OPEN_WITHIN_MS = 120_000;

/** Of so many runs that have streams, nearly all. */
const NEARLY_ALL = 0.9;

/** After the last end, ms. */
const LAST_MS = 15_000;

/** Runs end while the one of two daemons that listens to them goes; the other one, or its successor, reads on. */
export async function departureFigures(
  context: BenchContext,
  name: string,
  cell: DepartureCell,
): Promise<Figure[]> {
  const stage = await openStage(context, { limit: cell.limit, does: 'all' }, { hints: 'auto' });
  const { simulator, daemon: first, config } = stage;
  const add = (steps: { after_ms: number; status: string }[]) =>
    simulator.add({ steps, private_bytes: 0 }).id;
  const running = { after_ms: 0, status: 'running' };
  const warm = Array.from({ length: WARM_RUNS }, () =>
    add([running, { after_ms: WARM_MS, status: 'completed' }]),
  );
  await first.register(warm);
  await delay(3 * WARM_MS);
  const ids = Array.from({ length: cell.runs }, () => add([running]));
  await first.register(ids);
  const areOpen = () => simulator.streams.open >= NEARLY_ALL * cell.runs;
  await waitFor(areOpen, { timeoutMs: OPEN_WITHIN_MS, describe: 'streams to open' });
  // It comes when all streams are open: the one that goes listens to each of them.
  const second = await startDaemon(context, { config, profileDir: null });
  await delay(3_000);
  const leftAt = Date.now();
  if (cell.how === 'killed') process.kill(first.pid, 'SIGKILL');
  else await Promise.all([first.end(), startDaemon(context, { config, profileDir: null })]);
  const ended = ids.filter((_, at) => at % Math.floor(cell.runs / cell.ends) === 0);
  for (const id of ended) {
    simulator.setStatus(id, 'completed');
    if (cell.withinS > 0) await delay((1_000 * cell.withinS) / ended.length);
  }
  const left = cell.runs - ended.length;
  const reopened = await waitFor(() => simulator.streams.open >= NEARLY_ALL * left, {
    timeoutMs: OPEN_WITHIN_MS,
    describe: 'streams to open again',
  }).then(() => Date.now() - leftAt);
  await delay(LAST_MS);
  const events = await second.events('run.completed');
  const delays = ended.map((id) => {
    const event = events.find(({ data }) => data.run_id === id);
    return (event?.data.detection_delay_ms ?? Infinity) / 1_000;
  });
  const [max, p95] = [Math.max(...delays), percentile(delays, 0.95)];
  return [
    {
      name: `${name}: the longest delay after the process that listens is ${cell.how}`,
      value: rounded(max),
      unit: `s (p95 ${rounded(p95)}; ${cell.runs} streams at ${cell.limit} requests/s, open again after ${rounded(reopened / 1_000)} s)`,
      target: { atMost: 6 },
    },
  ];
}
