import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { startDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';
import { waitFor } from '../../test/support/wait-for.ts';

/** The longest interval of all watches, ms. */
const MAX_INTERVAL_MS = 1_000;

/** After the first reads: by then the daemon has counted the runs and surveyed its schedule, ms. */
const SETTLED_MS = 5_000;
const MEASURED_MS = 20_000;

/** Runs old enough that nothing but the longest interval calls for a read each second, ms. */
const AGE_MS = 3_600_000;

const PATIENCE_MS = 60_000;

/** A source whose runs go on and on. */
interface SteadySource {
  name: string;
  /** How long an answer takes, ms. */
  answerMs: number;
}

interface SteadyCell {
  sources: readonly SteadySource[];
  /** Of each source. */
  runs: number;
  requestsPerS: number;
  lists: 'auto' | 'off';
}

interface SteadyResult {
  name: string;
  /** Share of the rate limit that was used. */
  usedShare: number;
  /** The most requests that arrived within a second. */
  most: number;
  /** The longest time between two reads of a run, over all runs, s; without lists. */
  wait: { p50: number; p95: number };
}

/** Far more watches than a rate limit allows to be read as often as they are configured to be. */
export async function playSteady(cell: SteadyCell): Promise<SteadyResult[]> {
  return withContext(async (context) => {
    const simulators = await Promise.all(cell.sources.map((one) => simulatorOf(context, one)));
    const daemon = await startDaemon(context, {
      config: await configOf(context, cell, simulators),
      profileDir: null,
    });
    const steps = [{ after_ms: 0, status: 'running' }];
    for (const [at, simulator] of simulators.entries()) {
      const { name } = cell.sources[at] as SteadySource;
      const ids = Array.from(
        { length: cell.runs },
        () => simulator.add({ age_ms: AGE_MS, steps }).id,
      );
      await daemon.register(ids, { source: name });
    }
    await waitFor(() => simulators.every(({ requests }) => requests.runIds.length >= cell.runs), {
      timeoutMs: PATIENCE_MS,
      describe: 'the first reads',
    });
    await delay(SETTLED_MS);
    const from = Date.now();
    await delay(MEASURED_MS);
    const until = Date.now();
    return simulators.map(({ requests }, at) => {
      const waits = requests.runIds.map((id) => longestGap(requests.run(id).times, from, until));
      const sent = requests.requestsBetween(from, until);
      return {
        name: cell.sources[at]?.name ?? '',
        most: requests.mostWithin(1_000),
        usedShare: sent / ((cell.requestsPerS * (until - from)) / 1_000),
        wait: { p50: percentile(waits, 0.5), p95: percentile(waits, 0.95) },
      };
    });
  });
}

async function simulatorOf(context: BenchContext, { answerMs }: SteadySource): Promise<Simulator> {
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  if (answerMs > 0) simulator.fault({ kind: 'stall', ms: answerMs });
  return simulator;
}

async function configOf(context: BenchContext, cell: SteadyCell, simulators: readonly Simulator[]) {
  const redis = await startRedis(context);
  const sources = cell.sources.map(({ name }, at) => [
    name,
    {
      base_url: simulators[at]?.url,
      api_key: simulators[at]?.apiKey,
      rate_limit: { requests: cell.requestsPerS, per: '1s' },
    },
  ]);
  return {
    redis: { url: `unix://${redis.socket}` },
    sources: Object.fromEntries(sources) as Record<string, unknown>,
    polling: {
      min_interval: `${MAX_INTERVAL_MS}ms`,
      max_interval: `${MAX_INTERVAL_MS}ms`,
      lists: cell.lists,
      hints: 'off',
    },
    endpoints: { log: { type: 'log' } },
  };
}

/** The longest time in a window without a read, s. */
function longestGap(times: readonly number[], from: number, until: number): number {
  const within = times.filter((at) => at >= from && at < until);
  const marks = [from, ...within, until];
  return Math.max(...marks.slice(1).map((at, before) => at - (marks[before] ?? at))) / 1_000;
}
