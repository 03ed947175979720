import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { sum } from '../src/core/arrays.ts';
import type { Watch } from '../src/core/watch/watch.ts';
import { openStores } from '../test/support/stores.ts';
import { startDaemon } from './support/daemon.ts';
import { listingTimes } from './support/listings.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startNoxus, type BenchNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import { noteBlocks } from './support/slow-log.ts';
import {
  ACTIVE,
  fillWith,
  FULL,
  sampleOf,
  SHORT,
  writeRun,
  type RunShape,
} from './support/settled-runs.ts';

/** Runs of each shape that are written and packed one by one. */
const SAMPLES = 1_500;

/** Written at a time. */
const AT_ONCE = 50;

/** Runs that are forgotten; of fewer, a third. */
const FORGOTTEN = 100_000;

/** How often it is asked how many have been, ms. */
const ASK_MS = 200;

/** For how long the commands of scripts are counted one by one, ms: that slows Redis. */
const WATCHED_MS = 1_000;

const LISTINGS = [
  '/v1/watches?limit=200',
  '/v1/watches?limit=200&state=finished&status=completed',
  '/v1/watches?limit=200&status=completed,failed&source=default',
  '/v1/watches?limit=200&state=active',
  '/v1/events?limit=200',
  '/v1/events?limit=200&order=newest',
  '/v1/events?limit=200&type=run.completed',
  '/v1/deliveries?limit=200',
  '/v1/deliveries?limit=200&state=delivered&endpoint=ops',
  '/v1/deliveries?limit=200&state=dead',
];

interface MemoryOptions {
  /** Settled runs that the store is filled with. */
  count: number;
}

interface Stage {
  context: BenchContext;
  redis: BenchRedis;
  noxus: BenchNoxus;
  stores: ReturnType<typeof openStores>;
}

/**
 * What runs cost in Redis, indexes included. Measured: bytes of a run with five events and two
 * deliveries, of one with an event and a delivery, each live and packed, and of an active one. Then,
 * with very many of the first kind: memory, time from start to ready, the slowest listing. Last, while
 * 100,000 are forgotten: commands, the longest block of Redis by the clock, and the largest script.
 */
export async function benchMemory({ count }: MemoryOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
    context.onEnd(async () => stores.close());
    const stage = { context, redis, noxus, stores };
    // Redis keeps a histogram for each command, 20 to 40 KiB from its first call on: no cost of a run.
    for (let round = 0; round < 2; round += 1) await costOf(stage, FULL);
    const full = await costOf(stage, FULL);
    const short = await costOf(stage, SHORT);
    const active = await liveCostOf(stage, ACTIVE);
    await redis.flush();
    const sample = await sampleOf(stores, FULL);
    await redis.flush();
    await fillWith(stores, [sample], count);
    const bytes = await memoryOf(redis);
    const { readyMs, slowest } = await serveAll(stage);
    const forgotten = await forgetSome(stage, Math.min(FORGOTTEN, Math.floor(count / 3)));
    return {
      figures: [
        ...costFigures('5 events, 2 deliveries', full, 2_500),
        ...costFigures('1 event, 1 delivery', short, 1_300),
        figure('active, 1 event, 60 polls', active, 'bytes', 4_096),
        figure(
          `Redis memory of ${count.toLocaleString('en')} settled runs`,
          bytes / 1e6,
          'MB',
          750,
        ),
        figure('from start to ready', readyMs, 'ms', 2_000),
        figure(`p95 of the slowest listing, ${slowest.path}`, slowest.ms, 'ms', 50),
        figure('longest block of Redis while runs are forgotten', forgotten.longestMs, 'ms', 5),
        figure('most commands of one script meanwhile', forgotten.mostCommands, '', 200),
        { name: 'commands for each run', value: rounded(forgotten.commands), unit: '' },
        { name: 'runs forgotten', value: rounded(forgotten.perSecond), unit: '/s' },
      ],
      details: { redis: redis.version, full, short, slow: forgotten.slow },
    };
  });
}

function figure(name: string, value: number, unit: string, atMost: number): Figure {
  return { name, value: rounded(value), unit, target: { atMost } };
}

function costFigures(what: string, cost: { live: number; packed: number }, atMost: number) {
  return [
    { name: `${what}: live`, value: rounded(cost.live), unit: 'bytes' },
    figure(`${what}: settled`, cost.packed, 'bytes', atMost),
  ];
}

/** Bytes of Redis a run, before and after it is packed. */
async function costOf(stage: Stage, shape: RunShape) {
  const { redis, stores } = stage;
  await redis.flush();
  const empty = await memoryOf(redis);
  const runs = await writeMany(stage, shape, SAMPLES);
  const live = await memoryOf(redis);
  for (const run of runs) {
    const result = await stores.history.pack(run);
    if (result !== 'packed') throw new Error(`a run was not packed: ${result}`);
  }
  await delay(1_000);
  const packed = await memoryOf(redis);
  return { live: (live - empty) / SAMPLES, packed: (packed - empty) / SAMPLES };
}

/** Bytes of Redis a run that is not packed. */
async function liveCostOf(stage: Stage, shape: RunShape): Promise<number> {
  await stage.redis.flush();
  const empty = await memoryOf(stage.redis);
  await writeMany(stage, shape, SAMPLES);
  return ((await memoryOf(stage.redis)) - empty) / SAMPLES;
}

async function writeMany({ stores }: Stage, shape: RunShape, count: number): Promise<Watch[]> {
  const runs: Watch[] = [];
  const numbers = Array.from({ length: count }, (_, at) => at).values();
  const write = async () => {
    for (const at of numbers) {
      const run = await writeRun(stores, shape, at);
      runs.push(run);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, write));
  return runs;
}

async function serveAll(stage: Stage) {
  const startedAt = performance.now();
  const daemon = await start(stage, { retention: '365d' });
  while ((await daemon.readyz()) !== 200) await delay(20);
  const readyMs = performance.now() - startedAt;
  const [slowest = { path: '', ms: NaN }] = await listingTimes(daemon, LISTINGS);
  await daemon.end();
  return { readyMs, slowest };
}

async function forgetSome(stage: Stage, count: number) {
  const blocks = await noteBlocks(stage.context, stage.redis);
  const { history } = stage.stores;
  const daemon = await start(stage, { retention: '1s' });
  const before = (await history.size()).watches;
  const startedAt = performance.now();
  await stage.redis.takeCommands();
  let forgotten = 0;
  while (forgotten < count) {
    await delay(ASK_MS);
    forgotten = before - (await history.size()).watches;
  }
  const commands = sum(Object.values(await stage.redis.takeCommands())) / forgotten;
  const seconds = (performance.now() - startedAt) / 1_000;
  // Of the runs that are left: what is counted so is slower.
  const mostCommands = await mostOfScripts(stage.redis);
  await daemon.end();
  return { perSecond: forgotten / seconds, commands, mostCommands, ...(await blocks()) };
}

/** The most commands that one call of a script gives for some time. */
async function mostOfScripts({ socket }: BenchRedis): Promise<number> {
  const monitor = await new Redis(socket, { lazyConnect: true }).monitor();
  let [most, commands] = [0, 0];
  monitor.on('monitor', (_time: string, _args: string[], source: string) => {
    commands = source === 'lua' ? commands + 1 : 0;
    most = Math.max(most, commands);
  });
  await delay(WATCHED_MS);
  monitor.disconnect();
  return most;
}

async function start({ context, redis, noxus }: Stage, { retention }: { retention: string }) {
  return startDaemon(context, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      watches: { retention },
      delivery: { keep: 10_000_000 },
      endpoints: { ops: { type: 'log' } },
    },
  });
}

/** Bytes of what is stored: without buffers of connections, and without compiled scripts. */
async function memoryOf(redis: BenchRedis): Promise<number> {
  const info = await redis.info('memory');
  const { used_memory: all = NaN } = info;
  const passing = ['mem_clients_normal', 'mem_aof_buffer', 'used_memory_scripts'];
  return passing.reduce((bytes, field) => bytes - (info[field] ?? 0), all);
}
