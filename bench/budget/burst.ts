import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { configOf, sourceAt, startDaemon, type BenchEvent } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { startRedis, type BenchRedis } from '../support/redis.ts';

const WORKFLOW = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

/** The default rate limit. */
export const REQUESTS_PER_S = 10;

/** The failures that count as the first. */
const FIRST = 5;

const PATIENCE_MS = 120_000;

const WAITING = { timeoutMs: PATIENCE_MS, everyMs: 100 };

/** Delays in seconds. */
export interface BurstResult {
  /** From the first failure until so many have their events. */
  first: number;
  p50: number;
  p95: number;
  /** From the first failure until all have their events. */
  all: number;
  /** Failures with an event. */
  seen: number;
  /** Meanwhile, the share of the requests that read pages. */
  pageShare: number;
}

/** Many runs of one source fail within a second, at ten requests a second: by then all have been read. */
export async function playBurst(runs: number): Promise<BurstResult> {
  return withContext(async (context) => {
    const { daemon, simulator, ids } = await setUp(context, runs);
    simulator.requests.reset();
    const startedAt = Date.now();
    for (const [at, id] of ids.entries()) {
      simulator.setStatus(id, 'failed');
      if (at % Math.ceil(runs / 10) === 0) await delay(100);
    }
    const deadline = Date.now() + PATIENCE_MS;
    let events = await daemon.events('run.failed');
    while (events.length < runs && Date.now() < deadline) {
      await delay(500);
      events = await daemon.events('run.failed');
    }
    const { lists, total } = simulator.requests;
    const seenAfter = timesAfter(events, startedAt);
    const delays = events.map(({ data }) => (data.detection_delay_ms ?? Infinity) / 1_000);
    return {
      first: seenAfter[FIRST - 1] ?? Infinity,
      p50: percentile(delays, 0.5),
      p95: percentile(delays, 0.95),
      all: seenAfter[runs - 1] ?? Infinity,
      seen: events.length,
      pageShare: lists / total,
    };
  });
}

/** How long after a time events were made, earliest first, s. */
function timesAfter(events: readonly BenchEvent[], from: number): number[] {
  return events
    .map(({ data }) => (Date.parse(data.detected_at) - from) / 1_000)
    .sort((one, other) => one - other);
}

interface LiesResult {
  /** Runs that go on, and of which the list says that they have failed. */
  lies: number;
  /** Events of failures that have not come about. */
  events: number;
}

/** For so long the list lies, ms. */
const LYING_MS = 30_000;

/** A list says of one run in so many that it has failed, which is not so. */
export async function playLies(runs: number, oneIn: number): Promise<LiesResult> {
  return withContext(async (context) => {
    const { daemon, simulator } = await setUp(context, runs);
    simulator.fault({ kind: 'claim', status: 'failed', one_in: oneIn, on: 'list' });
    await delay(LYING_MS);
    const events = await daemon.events('run.failed');
    return { lies: Math.round(runs / oneIn), events: events.length };
  });
}

/** A daemon with ten requests a second that watches many runs. */
async function setUp(context: BenchContext, runs: number) {
  const redis = await startRedis(context);
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const ids = await readOnce(context, { redis, simulator, runs });
  const daemon = await startDaemon(context, {
    config: configOf(redis, sourceAt(simulator, REQUESTS_PER_S), { hints: 'off' }),
    profileDir: null,
  });
  // By then the plan of so few requests has replaced the one of many.
  await delay(15_000);
  return { daemon, simulator, ids };
}

interface Stage {
  redis: BenchRedis;
  simulator: Simulator;
  runs: number;
}

/** A daemon with requests enough reads all runs once. */
async function readOnce(context: BenchContext, { redis, simulator, runs }: Stage) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from(
    { length: runs },
    () => simulator.add({ workflow_id: WORKFLOW, age_ms: 600_000, steps }).id,
  );
  const daemon = await startDaemon(context, {
    config: configOf(redis, sourceAt(simulator, 1_000), { hints: 'off' }),
    profileDir: null,
  });
  await daemon.register(ids);
  await waitFor(() => ids.every((id) => simulator.requests.run(id).count > 0), WAITING);
  await daemon.end();
  return ids;
}
