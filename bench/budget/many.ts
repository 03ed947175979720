import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { withContext } from '../support/context.ts';
import { waitFor } from '../../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { startRedis, type BenchRedis } from '../support/redis.ts';

const REQUESTS_PER_S = 100;
const WORKFLOWS = 20;

/** Of the runs, so many end while figures are taken, one after the other. */
const ENDS = 600;
const ENDING_MS = 60_000;

/** By then plans go by what the first reads have shown, ms. */
const SETTLED_MS = 20_000;

const BATCH = 500;

const WAITING = { timeoutMs: 600_000, everyMs: 500 };

interface ManyResult {
  /** From the registration of the first to the first read of the last, s. */
  readS: number;
  p50: number;
  p95: number;
  max: number;
  seen: number;
  /** Of a core, while runs end. */
  cpuShare: number;
  redisCpuShare: number;
  rssMb: number;
  redisMb: number;
}

/** One process watches many runs of one source, some of which end. Delays in seconds. */
export async function playMany(runs: number): Promise<ManyResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const ids = Array.from({ length: runs }, (_, at) => addRun(simulator, at, runs));
    const daemon = await startDaemon(context, {
      config: configOf(redis, simulator),
      profileDir: null,
    });
    const startedAt = Date.now();
    for (let at = 0; at < runs; at += BATCH) await daemon.register(ids.slice(at, at + BATCH));
    await waitFor(() => ids.every((id) => simulator.requests.run(id).count > 0), WAITING);
    const readS = (Date.now() - startedAt) / 1_000;
    await delay(SETTLED_MS);
    const before = await loadOf(daemon, redis);
    const ending = ids.filter((_, at) => at % Math.floor(runs / ENDS) === 0).slice(0, ENDS);
    for (const id of ending) {
      simulator.setStatus(id, 'completed');
      await delay(ENDING_MS / ENDS);
    }
    await waitFor(
      async () => (await daemon.events('run.completed')).length >= ending.length,
      WAITING,
    );
    const after = await loadOf(daemon, redis);
    const events = await daemon.events('run.completed');
    const delays = events.map(({ data }) => (data.detection_delay_ms ?? Infinity) / 1_000);
    const tookMs = after.at - before.at;
    return {
      readS,
      p50: percentile(delays, 0.5),
      p95: percentile(delays, 0.95),
      max: Math.max(...delays),
      seen: events.length,
      cpuShare: (after.cpuMs - before.cpuMs) / tookMs,
      redisCpuShare: (after.redisCpuMs - before.redisCpuMs) / tookMs,
      rssMb: after.rssBytes / 1e6,
      redisMb: after.redisBytes / 1e6,
    };
  });
}

function addRun(simulator: Simulator, at: number, runs: number): string {
  const workflow_id = `0b9e6f74-25c1-4d0e-8a5b-${(at % WORKFLOWS).toString(16).padStart(12, '0')}`;
  const age_ms = 1_000 * (600 + runs - at);
  return simulator.add({ workflow_id, age_ms, steps: [{ after_ms: 0, status: 'running' }] }).id;
}

async function loadOf(daemon: BenchDaemon, redis: BenchRedis) {
  const [{ cpuUs, rssBytes }, cpu, memory] = await Promise.all([
    daemon.usage(),
    redis.info('cpu'),
    redis.info('memory'),
  ]);
  return {
    at: Date.now(),
    cpuMs: cpuUs / 1_000,
    rssBytes,
    redisCpuMs: 1_000 * ((cpu['used_cpu_user'] ?? 0) + (cpu['used_cpu_sys'] ?? 0)),
    redisBytes: memory['used_memory'] ?? 0,
  };
}

function configOf(redis: BenchRedis, simulator: Simulator) {
  return {
    redis: { url: `unix://${redis.socket}` },
    sources: {
      default: sourceAt(simulator, REQUESTS_PER_S),
    },
    polling: { hints: 'off' },
    endpoints: { log: { type: 'log' } },
  };
}
