import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { withContext } from '../support/context.ts';
import { configOf, sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import { percentile } from '../support/figures.ts';
import { startRedis, type BenchRedis } from '../support/redis.ts';

const REQUESTS_PER_S = 100;
const WORKFLOWS = 20;

/** One run in so many has ended before its registration. */
const ENDED_ONE_IN = 100;

/** Of the others, so many end while figures are taken, one after the other. */
const ENDS = 300;
const ENDING_MS = 30_000;

/** By then the plan goes by what the pages have shown, ms. */
const SETTLED_MS = 10_000;

/** What is not reported by then is not waited for, ms. */
const PATIENCE_MS = 40_000;
const LOOK_EVERY_MS = 500;

const BATCH = 500;

/** What a daemon makes of very many runs. Delays in seconds. */
interface ManyResult {
  registrationsPerS: number;
  /** From the end of registration to the events of runs that had ended before it. */
  first: Delays;
  /** From the ends of runs to their events. */
  later: Delays;
  /** Requests each second while runs end. */
  requestsPerS: number;
  /** Of a core, while runs end. */
  cpuShare: number;
  redisCpuShare: number;
  commandsPerS: number;
  rssMb: number;
  redisBytesPerWatch: number;
}

interface Delays {
  p50: number;
  p95: number;
  max: number;
  seen: number;
  of: number;
}

/** One process watches many runs of one source: some have ended before, and some end later. */
export async function playMany(runs: number): Promise<ManyResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const simulator = await startSimulator();
    context.onEnd(() => simulator.close());
    const ids = Array.from({ length: runs }, (_, at) => addRun(simulator, at, runs));
    const daemon = await startDaemon(context, {
      config: configOf(redis, sourceAt(simulator, REQUESTS_PER_S), { hints: 'off' }),
      profileDir: null,
    });
    const empty = await loadOf({ daemon, redis, simulator });
    const startedAt = Date.now();
    for (let at = 0; at < runs; at += BATCH) await daemon.register(ids.slice(at, at + BATCH));
    const registeredAt = Date.now();
    const ended = ids.filter((_, at) => hasEnded(at)).length;
    const before = await eventsOf(daemon, ended);
    await delay(SETTLED_MS);
    await redis.takeCommands();
    const from = await loadOf({ daemon, redis, simulator });
    const ending = await endSome(simulator, ids);
    const events = await eventsOf(daemon, ended + ending.size);
    const until = await loadOf({ daemon, redis, simulator });
    const commands = Object.values(await redis.takeCommands()).reduce((sum, one) => sum + one, 0);
    const each = (name: 'cpuMs' | 'redisCpuMs' | 'requests') =>
      (until[name] - from[name]) / (until.at - from.at);
    return {
      registrationsPerS: runs / ((registeredAt - startedAt) / 1_000),
      first: delaysOf(
        before.map(({ data }) => Math.max(0, Date.parse(data.detected_at) - registeredAt)),
        ended,
      ),
      later: delaysOf(
        events
          .filter(({ data }) => ending.has(data.run_id))
          .map(({ data }) => data.detection_delay_ms ?? Infinity),
        ending.size,
      ),
      requestsPerS: 1_000 * each('requests'),
      cpuShare: each('cpuMs'),
      redisCpuShare: each('redisCpuMs'),
      commandsPerS: (1_000 * commands) / (until.at - from.at),
      rssMb: until.rssBytes / 1e6,
      redisBytesPerWatch: (until.redisBytes - empty.redisBytes) / runs,
    };
  });
}

const hasEnded = (at: number) => at % ENDED_ONE_IN === 0;

function addRun(simulator: Simulator, at: number, runs: number): string {
  const workflow_id = `0b9e6f74-25c1-4d0e-8a5b-${(at % WORKFLOWS).toString(16).padStart(12, '0')}`;
  const age_ms = 1_000 * (600 + runs - at);
  const status = hasEnded(at) ? 'completed' : 'running';
  return simulator.add({ workflow_id, age_ms, steps: [{ after_ms: 0, status }] }).id;
}

/** Ends runs one after the other. @returns their ids */
async function endSome(simulator: Simulator, ids: readonly string[]): Promise<Set<string>> {
  const others = ids.filter((_, at) => !hasEnded(at));
  const ending = others.filter((_, at) => at % Math.floor(others.length / ENDS) === 0);
  for (const id of ending) {
    simulator.setStatus(id, 'completed');
    await delay(ENDING_MS / ending.length);
  }
  return new Set(ending);
}

/** Events of ends, once there are so many or patience is over. */
async function eventsOf(daemon: BenchDaemon, count: number) {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const events = await daemon.events('run.completed');
    if (events.length >= count || Date.now() > until) return events;
    await delay(LOOK_EVERY_MS);
  }
}

function delaysOf(delaysMs: readonly number[], of: number): Delays {
  const delays = delaysMs.map((ms) => ms / 1_000);
  return {
    p50: percentile(delays, 0.5),
    p95: percentile(delays, 0.95),
    max: Math.max(...delays),
    seen: delays.length,
    of,
  };
}

interface Measured {
  daemon: BenchDaemon;
  redis: BenchRedis;
  simulator: Simulator;
}

async function loadOf({ daemon, redis, simulator }: Measured) {
  const [{ cpuUs, rssBytes }, cpu, memory] = await Promise.all([
    daemon.usage(),
    redis.info('cpu'),
    redis.info('memory'),
  ]);
  return {
    at: Date.now(),
    requests: simulator.requests.total,
    cpuMs: cpuUs / 1_000,
    rssBytes,
    redisCpuMs: 1_000 * ((cpu['used_cpu_user'] ?? 0) + (cpu['used_cpu_sys'] ?? 0)),
    redisBytes: memory['used_memory'] ?? 0,
  };
}
