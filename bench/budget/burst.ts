import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { configOf, sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { startRedis, type BenchRedis } from '../support/redis.ts';

const WORKFLOW = '0b9e6f74-25c1-4d0e-8a5b-7c3f1d2e9a60';

/** Ends that single polls confirm beforehand: more than a list needs to earn its word. */
const EARNING = 30;

/** From one of them to the next, ms: a confirming poll each is within the rate limit. */
const EARNING_MS = 400;

const PATIENCE_MS = 120_000;

const WAITING = { timeoutMs: PATIENCE_MS, everyMs: 100 };

export interface BurstResult {
  p50: number;
  p95: number;
  max: number;
  /** Failures that were reported. */
  seen: number;
}

/**
 * Many runs of one source fail within a second, at ten requests a second, the default: by then they
 * have been read, and the list has earned its word. Delays in seconds.
 */
export async function playBurst(runs: number): Promise<BurstResult> {
  return withContext(async (context) => {
    const { daemon, simulator, ids } = await withEarnedWord(context, runs);
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
    const delays = events.map(({ data }) => (data.detection_delay_ms ?? Infinity) / 1_000);
    return {
      p50: percentile(delays, 0.5),
      p95: percentile(delays, 0.95),
      max: Math.max(...delays),
      seen: events.length,
    };
  });
}

interface LiesResult {
  /** Runs that go on, and of which the list says that they have failed. */
  lies: number;
  /** Failures that were reported and have not come about. */
  reported: number;
  /** Of these, how many were reported after a single poll had contradicted the first. */
  reportedLater: number;
}

/** For so long the list lies, ms. */
const LYING_MS = 30_000;

/** A list that has earned its word says of one run in so many that it has failed, which is not so. */
export async function playLies(runs: number, oneIn: number): Promise<LiesResult> {
  return withContext(async (context) => {
    const { daemon, simulator } = await withEarnedWord(context, runs);
    simulator.fault({ kind: 'claim', status: 'failed', one_in: oneIn, on: 'list' });
    await delay(LYING_MS);
    const reported = await daemon.events('run.failed');
    const [contradiction] = await daemon.events('run.resumed');
    const since = contradiction?.data.detected_at ?? null;
    return {
      lies: Math.round(runs / oneIn),
      reported: reported.length,
      reportedLater:
        since === null ? 0 : reported.filter(({ data }) => data.detected_at > since).length,
    };
  });
}

/** A daemon with ten requests a second that watches many runs, whose list has earned its word. */
async function withEarnedWord(context: BenchContext, runs: number) {
  const redis = await startRedis(context);
  const simulator = await startSimulator();
  context.onEnd(() => simulator.close());
  const { ids, earning } = await prepare(context, { redis, simulator, runs });
  const daemon = await startDaemon(context, {
    config: configOf(redis, sourceAt(simulator, 10), { hints: 'off' }),
    profileDir: null,
  });
  // By then the plan of so few requests has replaced the one of many.
  await delay(15_000);
  await earn(daemon, simulator, earning);
  return { daemon, simulator, ids };
}

interface Stage {
  redis: BenchRedis;
  simulator: Simulator;
  runs: number;
}

/** A daemon with requests enough reads all runs once. */
async function prepare(context: BenchContext, { redis, simulator, runs }: Stage) {
  const steps = [{ after_ms: 0, status: 'running' }];
  const add = () => simulator.add({ workflow_id: WORKFLOW, age_ms: 600_000, steps }).id;
  const ids = Array.from({ length: runs }, add);
  const earning = Array.from({ length: EARNING }, add);
  const daemon = await startDaemon(context, {
    config: configOf(redis, sourceAt(simulator, 1_000), { hints: 'off' }),
    profileDir: null,
  });
  const all = [...ids, ...earning];
  await daemon.register(all);
  await waitFor(() => all.every((id) => simulator.requests.run(id).count > 0), WAITING);
  await daemon.end();
  return { ids, earning };
}

/** Runs that end one by one, as the list shows and single polls confirm. */
async function earn(daemon: BenchDaemon, simulator: Simulator, earning: readonly string[]) {
  for (const id of earning) {
    simulator.setStatus(id, 'completed');
    await delay(EARNING_MS);
  }
  await waitFor(async () => (await daemon.events('run.completed')).length >= EARNING, WAITING);
  // Their confirmations are counted with the next reads of the page.
  await delay(5_000);
}
