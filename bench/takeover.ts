import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult } from './support/figures.ts';
import { onGround, type Ground } from './support/ground.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

/** Reads take so long that those of both daemons are under way at any moment, ms. */
const STALL_MS = 60_000;

interface TakeoverOptions {
  rounds: number;
  /** Runs that are polled. */
  runs: number;
}

/**
 * How long polls in flight wait for another daemon when theirs is killed, and when it is told to stop.
 * Two daemons read runs that answer only after a minute; one of them ends; what it was reading is read
 * by the other.
 *
 * Targets: 5 s after kill -9, 1 s after SIGTERM.
 */
export async function benchTakeover({ rounds, runs }: TakeoverOptions): Promise<BenchResult> {
  const waits: Record<'SIGKILL' | 'SIGTERM', number[]> = { SIGKILL: [], SIGTERM: [] };
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    for (let round = 0; round < rounds; round += 1) {
      waits[signal].push(await onGround((ground) => play(ground, runs, signal)));
    }
  }
  const figures = [
    { name: 'longest wait after kill -9', waited: waits.SIGKILL, target: { atMost: 5 } },
    { name: 'longest wait after SIGTERM', waited: waits.SIGTERM, target: { atMost: 1 } },
  ];
  return {
    figures: figures.flatMap(({ name, waited, target }) => [
      { name, value: rounded(Math.max(...waited)), unit: 's', target },
      { name: `${name}, median of rounds`, value: rounded(median(waited)), unit: 's' },
    ]),
    details: { waits },
  };
}

/** @returns seconds from the signal until the last of the polls in flight has begun again */
async function play(ground: Ground, runs: number, signal: NodeJS.Signals): Promise<number> {
  const redis = await startRedis(ground);
  const noxus = await startSimulator();
  ground.onEnd(() => noxus.close());
  const [first, second] = [await start(ground, redis, noxus), await start(ground, redis, noxus)];
  noxus.fault({ kind: 'stall', ms: STALL_MS });
  const steps = [{ after_ms: 0, status: 'running' }];
  const ids = Array.from({ length: runs }, () => noxus.add({ steps }).id);
  await first.register(ids);
  await waitFor(() => noxus.requests.inFlight === runs, { describe: 'all runs to be read' });
  await delay(2_000);
  const at = Date.now();
  process.kill(second.pid, signal);
  await waitFor(() => noxus.requests.inFlight < runs, { describe: 'polls to be cut off' });
  await waitFor(() => noxus.requests.inFlight === runs, { timeoutMs: 60_000 });
  const begun = ids.map((id) => noxus.requests.run(id).times.at(-1) ?? 0);
  return Math.max(...begun.map((time) => time - at), 0) / 1_000;
}

async function start(ground: Ground, redis: BenchRedis, noxus: Simulator): Promise<BenchDaemon> {
  return startDaemon(ground, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: {
        default: {
          base_url: noxus.url,
          api_key: noxus.apiKey,
          timeout: '60s',
          rate_limit: { requests: 10_000, per: '1s' },
        },
      },
      polling: { batch: 'off' },
    },
  });
}
