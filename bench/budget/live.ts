import { setTimeout as delay } from 'node:timers/promises';
import { startReceiver } from '../../src/simulator/receiver.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { configOf, sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { withContext, type BenchContext } from '../support/context.ts';
import { startRedis } from '../support/redis.ts';

/** Ten times faster than life. */
export const SCALED = {
  requestsPerS: 100,
  minIntervalMs: 100,
  maxIntervalMs: 6_000,
  /** Over how long runs begin, s. */
  beginS: 1,
  leastS: 30,
  mostS: 90,
};

/** After the last run has ended, its end must be seen within this time, ms. */
const PATIENCE_MS = 60_000;

export interface LiveCell {
  runs: number;
  workflows: number;
  /** Runs of others between any two of ours. */
  others?: number;
  daemons?: number;
  lists?: 'auto' | 'off';
  /** Size of a run in a list, bytes; as the simulator gives them by default. */
  itemBytes?: number;
  seed: number;
}

/** What a cell came to. Delays in seconds, from a run's end to its event. */
export interface LiveResult {
  p50: number;
  p95: number;
  max: number;
  seen: number;
  requests: number;
  lists: number;
  cpuShare: number;
}

/** Built daemons watch runs that end over a minute, under a rate limit of 100 requests a second. */
export async function playLive(cell: LiveCell): Promise<LiveResult> {
  return withContext(async (ground) => {
    const { simulator, daemons } = await setUp(ground, cell);
    const runs = addRuns(simulator, cell);
    const startedAt = Date.now();
    const [first] = daemons as [BenchDaemon];
    await first.register(runs);
    const until = startedAt + SCALED.mostS * 1_000 + PATIENCE_MS;
    let events = await first.events('run.completed');
    while (events.length < runs.length && Date.now() < until) {
      await delay(Math.max(1_000, startedAt + SCALED.mostS * 1_000 - Date.now()));
      events = await first.events('run.completed');
    }
    const delays = events.map(({ data }) => (data.detection_delay_ms ?? Infinity) / 1_000);
    const usage = await first.usage();
    return {
      p50: percentile(delays, 0.5),
      p95: percentile(delays, 0.95),
      max: Math.max(...delays),
      seen: events.length,
      requests: simulator.requests.total,
      lists: simulator.requests.lists,
      cpuShare: usage.cpuUs / 1_000 / (Date.now() - first.startedAt),
    };
  });
}

async function setUp(ground: BenchContext, { daemons = 1, lists = 'auto', itemBytes }: LiveCell) {
  const redis = await startRedis(ground);
  const simulator = await startSimulator();
  ground.onEnd(() => simulator.close());
  if (itemBytes !== undefined) simulator.fault({ kind: 'bulky', bytes: itemBytes, on: 'list' });
  const receiver = await startReceiver({ secrets: [] });
  ground.onEnd(() => receiver.close());
  const config = configOf(redis, sourceAt(simulator, SCALED.requestsPerS), {
    min_interval: `${SCALED.minIntervalMs}ms`,
    max_interval: `${SCALED.maxIntervalMs}ms`,
    lists,
    hints: 'off',
  });
  const started: BenchDaemon[] = [];
  for (let at = 0; at < daemons; at += 1) {
    started.push(await startDaemon(ground, { config, profileDir: null }));
  }
  return { simulator, daemons: started };
}

function addRuns(simulator: Simulator, { runs, workflows, others = 0, seed }: LiveCell): string[] {
  const random = seededRandom(seed);
  const watched: string[] = [];
  for (let at = 0; at < runs; at += 1) {
    const endMs = 1_000 * (SCALED.leastS + random() * (SCALED.mostS - SCALED.leastS));
    const steps = [
      { after_ms: 0, status: 'running', progress: 0 },
      { after_ms: Math.round(endMs), status: 'completed', progress: 100 },
    ];
    const workflow_id = workflowId(at % workflows);
    const age_ms = Math.round(1_000 * SCALED.beginS * (1 - at / runs));
    watched.push(simulator.add({ workflow_id, age_ms, steps }).id);
    for (let other = 0; other < others; other += 1) simulator.add({ workflow_id, age_ms, steps });
  }
  return watched;
}

function workflowId(number: number): string {
  return `0b9e6f74-25c1-4d0e-8a5b-${number.toString(16).padStart(12, '0')}`;
}
