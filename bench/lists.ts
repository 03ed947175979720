import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { percentile, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

const WORKFLOW = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

/** Two p95 of a hundred delays count as alike within this factor. */
const LIKE = 1.1;

/** Time left to notice the last run, ms. */
const PATIENCE_MS = 30_000;

interface ListsOptions {
  /** Runs of one workflow that are watched at once. */
  runs: number;
  /** When the last of them ends; the first does so half-way. */
  seconds: number;
  profileDir: string | null;
}

/** The cost of seeing all runs to their ends. */
interface Round {
  requests: number;
  lists: number;
  /** From finished_at to detection, ms, for each run. */
  delays: number[];
}

/**
 * What reading a list in place of its runs saves. The built daemon watches runs of one workflow
 * that begin at once and end one after the other, without lists and with them. For equal delays,
 * both sides poll every half second; requests are counted at the fake Noxus. Target: a tenth of the
 * requests of single polls at a like p95 of the delay.
 */
export async function benchLists(options: ListsOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const single = await round(context, { redis, options, lists: 'off' });
    const together = await round(context, { redis, options, lists: 'auto' });
    return resultOf(single, together);
  });
}

interface Side {
  redis: BenchRedis;
  options: ListsOptions;
  lists: 'auto' | 'off';
}

async function round(context: BenchContext, { redis, options, lists }: Side): Promise<Round> {
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const daemon = await startDaemon(context, {
    profileDir: options.profileDir,
    config: {
      redis: { url: `unix://${redis.socket}`, prefix: `lists-${lists}` },
      sources: {
        default: sourceAt(simulator, 1_000),
      },
      polling: { min_interval: '500ms', max_interval: '500ms', lists, hints: 'off' },
      endpoints: { log: { type: 'log' } },
    },
  });
  await daemon.register(addRuns(simulator, options));
  const delays = await waitFor(() => allDelays(daemon, options.runs), {
    timeoutMs: options.seconds * 1_000 + PATIENCE_MS,
    describe: 'all runs to be seen to their ends',
  });
  const { total: requests, lists: pages } = simulator.requests;
  await daemon.end();
  return { requests, lists: pages, delays };
}

function addRuns(simulator: Simulator, { runs, seconds }: ListsOptions): string[] {
  return Array.from({ length: runs }, (_, index) => {
    const endMs = Math.round((seconds * 1_000 * (1 + index / runs)) / 2);
    const steps = [
      { after_ms: 0, status: 'running', progress: 0 },
      { after_ms: endMs, status: 'completed', progress: 100 },
    ];
    return simulator.add({ workflow_id: WORKFLOW, steps }).id;
  });
}

/** Null until every run's end was detected. */
async function allDelays(daemon: BenchDaemon, runs: number): Promise<number[] | null> {
  const events = await daemon.events('run.completed');
  return events.length === runs
    ? events.map(({ data }) => data.detection_delay_ms ?? Infinity)
    : null;
}

function resultOf(single: Round, together: Round): BenchResult {
  const p95 = ({ delays }: Round) => percentile(delays, 0.95);
  const [singleP95, togetherP95] = [p95(single), p95(together)];
  return {
    figures: [
      { name: 'requests, each run by itself', value: single.requests, unit: '' },
      { name: 'p95 delay', value: rounded(singleP95), unit: 'ms' },
      { name: 'requests, by the list', value: together.requests, unit: '' },
      { name: 'of these for the list', value: together.lists, unit: '' },
      {
        name: 'p95 delay',
        value: rounded(togetherP95),
        unit: 'ms',
        target: { atMost: rounded(singleP95 * LIKE) },
      },
      {
        name: 'share of requests',
        value: rounded(together.requests / single.requests),
        unit: '',
        target: { atMost: 0.1 },
      },
    ],
    details: { single, together },
  };
}
