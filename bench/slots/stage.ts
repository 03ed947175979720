import { setTimeout as delay } from 'node:timers/promises';
import { waitFor } from '../../test/support/wait-for.ts';
import { sourceAt, startDaemon, type BenchDaemon } from '../support/daemon.ts';
import type { BenchContext } from '../support/context.ts';
import { runIdAt, startNoxus, type BenchNoxus } from '../support/noxus.ts';
import { startRedis, type BenchRedis } from '../support/redis.ts';
import { startRedisProxy, type RedisProxy } from '../support/redis-proxy.ts';

interface StageOptions {
  daemons?: number;
  /** Runs that Noxus has; none of them ever changes. */
  runs: number;
  perS: number;
  intervalMs: number;
  concurrency?: number | 'auto';
  /** How far away Redis is, each way. */
  delayMs?: number;
}

/** Daemons that share a store and poll runs of a Noxus of their own, singly and at a fixed interval. */
export interface SlotsStage {
  redis: BenchRedis;
  proxy: RedisProxy;
  noxus: BenchNoxus;
  daemons: BenchDaemon[];
  /** Registers so many more runs, some at a time for so long, so that not all are due at once. */
  register(count: number, overMs?: number): Promise<void>;
  /** Gives all daemons another rate limit. */
  allow(perS: number): Promise<void>;
  /** How many slots wait in the queue. */
  waiting(): Promise<number>;
}

/** What a stage has done in a span of time. */
export interface Span {
  seconds: number;
  polls: number;
  claims: number;
  evalsha: number;
  commands: number;
}

export async function startStage(
  context: BenchContext,
  { daemons: count = 1, runs, perS, intervalMs, concurrency = 'auto', delayMs = 0 }: StageOptions,
): Promise<SlotsStage> {
  const redis = await startRedis(context);
  const proxy = await startRedisProxy(context, redis, { delayMs });
  const noxus = await startNoxus(context, runs);
  const config = (limit: number) => ({
    redis: { url: proxy.url },
    sources: { default: sourceAt(noxus, limit) },
    polling: {
      min_interval: `${intervalMs}ms`,
      max_interval: `${intervalMs}ms`,
      lists: 'off',
      hints: 'off',
      concurrency,
    },
  });
  const daemons: BenchDaemon[] = [];
  for (let at = 0; at < count; at += 1) {
    daemons.push(await startDaemon(context, { profileDir: null, config: config(perS) }));
  }
  let registered = 0;
  return {
    redis,
    proxy,
    noxus,
    daemons,
    async register(more, overMs = 0) {
      const parts = overMs === 0 ? 1 : Math.min(more, 20);
      const first = registered;
      for (let part = 1; part <= parts; part += 1) {
        const upTo = first + Math.round((more * part) / parts);
        const ids = Array.from({ length: upTo - registered }, (_, at) => runIdAt(registered + at));
        registered = upTo;
        await registerSurely(daemons[part % count], ids);
        await delay(overMs / parts);
      }
    },
    async allow(limit) {
      for (const daemon of daemons) await daemon.reload(config(limit));
    },
    waiting: () => redis.lengthOf('{runwatch}:poll-default:wait'),
  };
}

/** Registers watches; again where a Redis that is far away or a busy machine did not answer in time. */
async function registerSurely(daemon: BenchDaemon | undefined, ids: string[]): Promise<void> {
  for (let at = 0; at < ids.length; at += BATCH) {
    const watches = ids.slice(at, at + BATCH).map((run_id) => ({ run_id }));
    const register = async () => (await daemon?.call('/v1/watches/batch', { watches }), true);
    await waitFor(register, { timeoutMs: 60_000, describe: 'the registration of watches' });
  }
}

/** Watches registered at a time. */
const BATCH = 500;

/** Commands of the bench itself. */
const OWN = new Set(['info', 'config|resetstat']);

/** Counts what a stage does for so long. */
export async function span({ redis, proxy, noxus }: SlotsStage, ms: number): Promise<Span> {
  const before = await noxus.countRequests();
  await redis.takeCommands();
  proxy.takeClaims();
  const startedAt = performance.now();
  await delay(ms);
  const claims = proxy.takeClaims();
  const calls = await redis.takeCommands();
  const seconds = (performance.now() - startedAt) / 1_000;
  const polls = (await noxus.countRequests()) - before;
  const commands = Object.entries(calls).reduce(
    (sum, [name, called]) => (OWN.has(name) ? sum : sum + called),
    0,
  );
  return { seconds, polls, claims, evalsha: calls['evalsha'] ?? 0, commands };
}
