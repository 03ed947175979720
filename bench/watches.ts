import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type BenchDaemon } from './support/daemon.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { runIdAt, startNoxus, type BenchNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';

const BATCH = 1_000;

/** After this long without a poll, all watches have been polled, ms. */
const QUIET_MS = 3_000;

/** Long enough for buffers to be let go of. */
const CALM_MS = 1_000;

/** How long polling each watch once may take; later watches are left out. */
const POLL_ALL_MS = 240_000;

interface WatchesOptions {
  count: number;
  /** Concurrent batch requests. */
  connections: number;
  profileDir: string | null;
}

interface Stage {
  context: BenchContext;
  redis: BenchRedis;
  noxus: BenchNoxus;
  options: WatchesOptions;
}

/**
 * The cost of very many active watches. Measured: the rate of registration through the HTTP API in
 * batches of 1,000, and the daemon's size. Also each watch's memory in Redis, with indexes and due
 * time, before and after its first poll. Last, the time from a start with all of them in Redis to
 * the first poll. Targets: at least 2,000 registrations a second, at most 2 KiB of Redis a watch.
 */
export async function benchWatches(options: WatchesOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, options.count);
    const stage = { context, redis, noxus, options };
    const registered = await registerAll(stage);
    const polled = await pollAll(stage);
    const perWatch = (bytes: number) => rounded((bytes - registered.emptyBytes) / options.count);
    return {
      figures: [
        {
          name: 'registrations',
          value: rounded(options.count / registered.seconds),
          unit: '/s',
          target: { atLeast: 2_000 },
        },
        {
          name: 'Redis memory per new watch',
          value: perWatch(registered.bytes),
          unit: 'bytes',
          target: { atMost: 2_048 },
        },
        {
          name: 'Redis memory per watch that was polled',
          value: perWatch(polled.bytes),
          unit: 'bytes',
          target: { atMost: 2_048 },
        },
        { name: 'daemon size after registration', value: mebibytes(registered.rss), unit: 'MiB' },
        { name: 'daemon size after polling', value: mebibytes(polled.rss), unit: 'MiB' },
        { name: 'from start to first poll', value: polled.firstPollMs, unit: 'ms' },
        { name: 'first polls', value: rounded(polled.polls / polled.seconds), unit: '/s' },
        { name: 'polled', value: polled.polls, unit: `of ${options.count}` },
      ],
      details: { redis: redis.version, registered, polled },
    };
  });
}

/** Registers everything at the default rate limit, so that there are hardly any polls yet. */
async function registerAll(stage: Stage) {
  const { redis, options } = stage;
  const daemon = await start(stage, { requests: 1, per: '100ms' });
  await delay(CALM_MS);
  const emptyBytes = await memoryOf(redis);
  const startedAt = performance.now();
  const starts = Array.from(
    { length: Math.ceil(options.count / BATCH) },
    (_, at) => at * BATCH,
  ).values();
  const register = async () => {
    for (const from of starts) {
      const size = Math.min(BATCH, options.count - from);
      await daemon.register(Array.from({ length: size }, (_, index) => runIdAt(from + index)));
    }
  };
  await Promise.all(Array.from({ length: options.connections }, register));
  const seconds = (performance.now() - startedAt) / 1_000;
  await delay(CALM_MS);
  const bytes = await memoryOf(redis);
  const { rssBytes: rss } = await daemon.usage();
  await daemon.end();
  return { emptyBytes, bytes, seconds, rss };
}

/** A second daemon finds all watches in Redis and polls each of them once. */
async function pollAll(stage: Stage) {
  const { redis, noxus } = stage;
  const request = noxus.nextRequest();
  const daemon = await start(stage, { requests: 100_000, per: '100ms' });
  const first = await request;
  const deadline = first + POLL_ALL_MS;
  let usage = await daemon.usage();
  let lastAt = first;
  while (Date.now() < Math.min(deadline, lastAt + QUIET_MS)) {
    await delay(100);
    const { polls } = usage;
    usage = await daemon.usage();
    if (usage.polls > polls) lastAt = Date.now();
  }
  const seconds = (lastAt - first) / 1_000;
  await delay(CALM_MS);
  const bytes = await memoryOf(redis);
  await daemon.end();
  return {
    firstPollMs: first - daemon.startedAt,
    polls: usage.polls,
    rss: usage.rssBytes,
    seconds,
    bytes,
  };
}

async function start(
  { context, redis, noxus, options }: Stage,
  rateLimit: { requests: number; per: string },
): Promise<BenchDaemon> {
  return startDaemon(context, {
    profileDir: options.profileDir,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: {
        default: { base_url: noxus.url, api_key: noxus.apiKey, rate_limit: rateLimit },
      },
      // What lists show would not be polled by itself for long.
      polling: { min_interval: '1h', max_interval: '1h', lists: 'off' },
    },
  });
}

async function memoryOf(redis: BenchRedis): Promise<number> {
  const { used_memory: bytes = NaN } = await redis.info('memory');
  return bytes;
}

function mebibytes(bytes: number): number {
  return rounded(bytes / 1_048_576);
}
