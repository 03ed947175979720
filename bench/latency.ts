import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon } from './support/daemon.ts';
import { percentile, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { openOutbox } from './support/outbox.ts';
import { startReceivers, type Arrival } from './support/receivers.ts';
import { startRedis } from './support/redis.ts';

const ENDPOINTS = 10;

/** Events a second: too few to wait for one another. */
const RATE = 40;

const INTERVAL_MS = 200;

/** By now the start has compiled and connected, ms. */
const WARM_MS = 5_000;

/**
 * How soon a webhook is at its receiver under low load. First from the answer of the poll that saw
 * the change, in one process that polls and sends. Then from the write of the event by another
 * process. Targets: p50 6 ms and p99 15 ms after the answer; 20 ms after the write.
 */
export async function benchLatency({ seconds }: { seconds: number }): Promise<BenchResult> {
  const read = await withContext((context) => afterAnswers(context, seconds));
  const written = await withContext((context) => afterWrites(context, seconds));
  return {
    figures: [
      ...figures('answer of a read to first byte', read, { p50: 6, p99: 15 }),
      ...figures('event of another process to first byte', written, { p50: 20, p99: null }),
    ],
    details: {},
  };
}

function figures(name: string, ms: number[], most: { p50: number; p99: number | null }): Figure[] {
  const at = (share: number) => rounded(percentile(ms, share));
  return [
    { name: `${name}, p50`, value: at(0.5), unit: 'ms', target: { atMost: most.p50 } },
    { name: `${name}, p95`, value: at(0.95), unit: 'ms' },
    {
      name: `${name}, p99`,
      value: at(0.99),
      unit: 'ms',
      ...(most.p99 !== null && { target: { atMost: most.p99 } }),
    },
    { name: `${name}, the longest`, value: at(1), unit: 'ms' },
  ];
}

/** Runs that end one after the other; a poll sees each end, and one endpoint gets it. */
async function afterAnswers(context: BenchContext, seconds: number): Promise<number[]> {
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const { daemon, receivers } = await setUp(context, 1, sourceAt(noxus));
  const endRuns = async (forMs: number) => {
    const ids = Array.from({ length: Math.round((forMs / 1_000) * RATE) }, () => {
      return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
    });
    for (const id of ids) {
      // Only a few runs are active at a time, or polls would wait for one another.
      await daemon.register([id]);
      setTimeout(() => noxus.setStatus(id, 'completed'), INTERVAL_MS * 3);
      await delay(1_000 / RATE);
    }
    return ids;
  };
  await endRuns(WARM_MS);
  await delay(INTERVAL_MS * 10);
  await receivers.take();
  const ids = await endRuns(seconds * 1_000);
  await delay(INTERVAL_MS * 10);
  const answered = new Map(ids.map((id) => [id, noxus.requests.run(id).times.at(-1) ?? 0]));
  const arrivals = await receivers.take();
  const events = await daemon.events('run.completed');
  const runs = new Map(events.map(({ id, data }) => [id, data.run_id]));
  return arrivals.flatMap(({ id, at }: Arrival) => {
    const runId = runs.get(id);
    const answeredAt = runId === undefined ? undefined : answered.get(runId);
    return answeredAt === undefined ? [] : [at - answeredAt];
  });
}

/** Events that this process writes, as if it were another daemon. */
async function afterWrites(context: BenchContext, seconds: number): Promise<number[]> {
  const { redis, receivers } = await setUp(context, ENDPOINTS, {
    base_url: 'http://127.0.0.1:9',
    api_key: 'none',
  });
  const outbox = openOutbox(context, redis);
  const endpoints = Array.from({ length: ENDPOINTS }, (_, at) => `e${at}`);
  const pace = (forS: number) => outbox.pace({ endpoints, perSecond: RATE, seconds: forS });
  await pace(WARM_MS / 1_000);
  await receivers.take();
  const committed = await pace(seconds);
  const arrivals: Arrival[] = [];
  await waitFor(async () => {
    arrivals.push(...(await receivers.take()));
    return arrivals.length >= committed.length;
  });
  const at = new Map(arrivals.map((one) => [one.id, one.at]));
  return committed.map(({ eventId, scheduledAt }) => (at.get(eventId) ?? Infinity) - scheduledAt);
}

async function setUp(context: BenchContext, count: number, source: Record<string, unknown>) {
  const redis = await startRedis(context);
  const receivers = await startReceivers(context, count);
  const endpoints = receivers.urls.map((url, at) => {
    return [`e${at}`, { type: 'webhook', url, events: ['run.completed'] }] as const;
  });
  const daemon = await startDaemon(context, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { default: source },
      polling: {
        min_interval: `${INTERVAL_MS}ms`,
        max_interval: `${INTERVAL_MS}ms`,
        lists: 'off',
      },
      endpoints: Object.fromEntries(endpoints),
    },
  });
  return { redis, receivers, daemon };
}
