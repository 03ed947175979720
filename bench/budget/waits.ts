import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator } from '../../src/simulator/server.ts';
import { withContext } from '../support/context.ts';
import { configOf, sourceAt, startDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { startRedis } from '../support/redis.ts';

/** Runs that wait for a human, and runs of the same workflow that go on. */
const WAITING = 20;

/** As configured by default. */
const REQUESTS_PER_S = 10;

/** By then every run was read and the plan has settled, ms. */
const SETTLED_MS = 25_000;

/** One answer after the other, ms. */
const BETWEEN_MS = 1_300;
const LAST_MS = 7_000;

/** Runs are as old as this, ms. */
const AGE_MS = 600_000;

interface WaitsResult {
  /** From an answer to the event `run.resumed`, s. */
  p50: number;
  p95: number;
  max: number;
  seen: number;
  of: number;
  /** Of all runs, pages of lists included. */
  requestsPerS: number;
  /** Single reads of a run while it waits, each hour. */
  readsPerHour: number;
}

/** A daemon watches runs that wait for a human, beside some that go on; one after the other is answered. */
export async function playWaits(others: number): Promise<WaitsResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const add = (status: string, at: number) =>
      simulator.add({ age_ms: AGE_MS - at, steps: [{ after_ms: 0, status }] }).id;
    const running = Array.from({ length: others }, (_, at) => add('running', 10 * at));
    const waiting = Array.from({ length: WAITING }, (_, at) =>
      add('awaiting_human_feedback', 50 * at),
    );
    const daemon = await startDaemon(context, {
      config: configOf(redis, sourceAt(simulator, REQUESTS_PER_S), { hints: 'off' }),
      profileDir: null,
    });
    await daemon.register([...running, ...waiting]);
    await delay(SETTLED_MS);
    const reads = () => waiting.map((id) => simulator.requests.run(id).count);
    const [from, before, readBefore] = [Date.now(), simulator.requests.total, reads()];
    const answeredAt = new Map<string, number>();
    let [waitedMs, readWaiting] = [0, 0];
    for (const [at, id] of waiting.entries()) {
      await delay(BETWEEN_MS);
      waitedMs += Date.now() - from;
      readWaiting += simulator.requests.run(id).count - (readBefore[at] ?? 0);
      simulator.setStatus(id, 'running');
      answeredAt.set(id, Date.now());
    }
    const requestsPerS = (simulator.requests.total - before) / ((Date.now() - from) / 1_000);
    await delay(LAST_MS);
    const events = await daemon.events('run.resumed');
    const delays = events.map(
      ({ data }) =>
        (Date.parse(data.detected_at) - (answeredAt.get(data.run_id) ?? Infinity)) / 1_000,
    );
    return {
      p50: percentile(delays, 0.5),
      p95: percentile(delays, 0.95),
      max: Math.max(...delays),
      seen: delays.length,
      of: WAITING,
      requestsPerS,
      readsPerHour: readWaiting / (waitedMs / 3_600_000),
    };
  });
}
