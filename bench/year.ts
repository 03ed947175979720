import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { startPrivateRedis } from '../test/support/redis-process.ts';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { serve } from './support/serve.ts';
import { measureStore, type StoreSize } from './support/store-size.ts';

/**
 * Runs that begin each second, and how long each lasts: 100 are watched at any moment, and some 75
 * deliveries go out each second. That is a fraction of what a core can do: a backlog would be no leak.
 */
const RUNS_PER_S = 5;
const RUN_LASTS_MS = 20_000;

/** How long what is over is kept: far less than the bench lasts, so that what grows is a leak. */
const RETENTION = '4s';

/** Statuses that no known version of Noxus has; few, as they would be. */
const UNKNOWN = Array.from({ length: 30 }, (_, at) => `made_up_${at}`);

const WORKFLOWS = Array.from({ length: 5 }, () => randomUUID());

/** Every so often an endpoint is paused for a third of that. */
const PAUSE_EVERY_MS = 6_000;

/** Not in step with pauses or retention. */
const SAMPLE_EVERY_MS = 3_100;

/** What has to have happened; it goes on until then, as long as three times what was asked for. */
const LEAST = { polls: 100_000, deliveries: 20_000 };
const MOST_TIMES_LONGER = 4;

/**
 * The largest trend between the second third and the last, as a share, and the noise to allow. The
 * store's contents are counted per record, a watch or a delivery: on a busy machine more deliveries
 * wait. A key that is never removed shows all the same.
 */
const TRENDS = {
  heapBytes: { share: 0.1, noise: 3e6 },
  rssBytes: { share: 0.15, noise: 20e6 },
  handles: { share: 0.1, noise: 30 },
  listeners: { share: 0, noise: 0 },
  watches: { share: 0.2, noise: 50 },
  keysPerRecord: { share: 0.05, noise: 0 },
  itemsPerRecord: { share: 0.05, noise: 0 },
  bytesPerRecord: { share: 0.1, noise: 0 },
} as const;

/** Memory of a Redis that holds next to nothing. */
const EMPTY_BYTES = 3e6;

type Measured = keyof typeof TRENDS;

interface Sample extends Record<Measured, number> {
  polls: number;
  byName: StoreSize['byName'];
}

interface YearOptions {
  minutes: number;
}

/**
 * A year in minutes: runs begin and end all the time, with unknown statuses too. Each has its own
 * webhook URL, besides a configured endpoint that is paused now and then. All of it is forgotten
 * seconds later. Whatever is held at the end must be what was held in the middle. Targets: at least
 * 100,000 polls and 20,000 deliveries, and no trend. That covers heap after a collection, RSS,
 * handles, listeners and kept watches. It also covers keys of Redis, their fields and members, and
 * Redis memory per kept watch and delivery.
 */
export async function benchYear({ minutes }: YearOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const stage = await setUp(context);
    const ending = new AbortController();
    const [samples] = await Promise.all([
      sampleUntilEnough(stage, minutes * 60_000).finally(() => ending.abort()),
      beginRuns(stage, ending.signal),
      pauseNowAndThen(stage, ending.signal),
    ]);
    return resultOf(samples, stage.received());
  });
}

type Stage = Awaited<ReturnType<typeof setUp>>;

async function setUp(context: BenchContext) {
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const redis = await startPrivateRedis({ aof: true });
  context.onEnd(() => redis.stop());
  const receiver = await startCounter(context);
  const daemon = await startDaemon(context, {
    config: configOf(noxus, redis.url, receiver.url),
    profileDir: null,
    inspect: true,
  });
  return { noxus, redis, daemon, ...receiver };
}

function configOf(noxus: Simulator, redisPath: string, receiverUrl: string) {
  return {
    redis: { url: `unix://${redisPath}` },
    sources: {
      default: sourceAt(noxus),
    },
    polling: {
      min_interval: '100ms',
      max_interval: '200ms',
      lists: 'off',
      // Half of the runs have streams, which stand in for polls.
      hint_streams: 50,
      // Slots are jobs in Redis: as many as there are of them is no leak, so there are few.
      concurrency: 32,
    },
    watches: { retention: RETENTION },
    delivery: { retention: RETENTION },
    endpoints: {
      all: { type: 'webhook', url: `${receiverUrl}/all`, events: ['*'], default: true },
    },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

/** A receiver that takes everything at once, whatever the path. */
async function startCounter(context: BenchContext) {
  let count = 0;
  const server = createServer((request, response) => {
    count += 1;
    request.resume();
    response.writeHead(204).end();
  });
  return { url: await serve(context, server), received: () => count };
}

async function beginRuns({ noxus, daemon, url }: Stage, ending: AbortSignal): Promise<void> {
  for (let second = 0; !ending.aborted; second += 1) {
    const ids = Array.from({ length: RUNS_PER_S }, (_, at) => beginRun(noxus, second + at));
    const watches = ids.map((id) => ({
      run_id: id,
      endpoints: ['all'],
      webhook: { url: `${url}/own/${id}`, events: ['*'] },
      metadata: { second: String(second) },
    }));
    await daemon.call('/v1/watches/batch', { watches });
    await delay(1_000);
  }
}

function beginRun(noxus: Simulator, number: number): string {
  const unknown = UNKNOWN[number % UNKNOWN.length] ?? 'made_up';
  const last = number % 2 === 0 ? 'completed' : 'failed';
  const after = (fifths: number) => (fifths * RUN_LASTS_MS) / 5;
  return noxus.add({
    workflow_id: WORKFLOWS[number % WORKFLOWS.length] ?? '',
    steps: [
      { after_ms: 0, status: 'queued' },
      { after_ms: after(1), status: 'running', progress: 10 },
      { after_ms: after(2), status: unknown, progress: 40 },
      { after_ms: after(3), status: 'awaiting_human_feedback', progress: 60 },
      { after_ms: after(4), status: 'running', progress: 80 },
      { after_ms: after(5), status: last, progress: 100 },
    ],
  }).id;
}

async function pauseNowAndThen({ daemon }: Stage, ending: AbortSignal): Promise<void> {
  while (!ending.aborted) {
    await delay((PAUSE_EVERY_MS * 2) / 3);
    await daemon.call('/v1/endpoints/all/pause', {});
    await delay(PAUSE_EVERY_MS / 3);
    await daemon.call('/v1/endpoints/all/resume', {});
  }
}

async function sampleUntilEnough(stage: Stage, leastMs: number): Promise<Sample[]> {
  const { daemon, redis, received } = stage;
  const startedAt = Date.now();
  const samples: Sample[] = [];
  const isOver = () => {
    const ms = Date.now() - startedAt;
    const polls = samples.at(-1)?.polls ?? 0;
    const isEnough = polls >= LEAST.polls && received() >= LEAST.deliveries;
    return ms >= leastMs && (isEnough || ms >= MOST_TIMES_LONGER * leastMs);
  };
  while (!isOver()) {
    await delay(SAMPLE_EVERY_MS);
    samples.push(await sample(daemon, redis.url));
  }
  return samples;
}

async function sample(daemon: BenchDaemon, redisPath: string): Promise<Sample> {
  const [held, store, { polls }] = [
    await daemon.inspect(),
    await measureStore(redisPath),
    await daemon.usage(),
  ];
  const { keys, items, memoryBytes, byName } = store;
  const watches = keysOf(byName, 'watch');
  // A delivery is a hash of four fields.
  const records = Math.max(1, watches + keysOf(byName, 'delivery') / 5);
  return {
    ...held,
    polls,
    byName,
    watches,
    keysPerRecord: keys / records,
    itemsPerRecord: items / records,
    bytesPerRecord: (memoryBytes - EMPTY_BYTES) / records,
  };
}

function keysOf(byName: StoreSize['byName'], kind: string): number {
  return byName[`{runwatch}:${kind}`] ?? 0;
}

function resultOf(samples: Sample[], deliveries: number): BenchResult {
  const third = Math.floor(samples.length / 3);
  const [middle, end] = [samples.slice(third, -third), samples.slice(-third)];
  const trends = (Object.keys(TRENDS) as Measured[]).map((name) => trend(name, middle, end));
  return {
    figures: [
      atLeast('polls', samples.at(-1)?.polls ?? 0, LEAST.polls),
      atLeast('deliveries', deliveries, LEAST.deliveries),
      ...trends,
    ],
    details: { samples },
    text: growth(middle, end),
  };
}

function trend(name: Measured, middle: Sample[], end: Sample[]): Figure {
  const { share, noise } = TRENDS[name];
  const [before, after] = [middle, end].map((some) => median(some.map((one) => one[name])));
  const most = (before ?? 0) * (1 + share) + noise;
  return {
    name: `${name} in the end, ${rounded(before ?? 0).toLocaleString('en')} in the middle`,
    value: rounded(after ?? 0),
    unit: '',
    target: { atMost: rounded(most) },
  };
}

function atLeast(name: string, value: number, least: number): Figure {
  return { name, value, unit: '', target: { atLeast: least } };
}

/** The names of keys that hold more in the end than in the middle, to find the leak. */
function growth(middle: Sample[], end: Sample[]): string {
  const names = [...new Set(end.flatMap(({ byName }) => Object.keys(byName)))];
  const of = (some: Sample[], name: string) => median(some.map(({ byName }) => byName[name] ?? 0));
  const lines = names
    .map((name) => ({ name, before: of(middle, name), after: of(end, name) }))
    .filter(({ before, after }) => after > before * 1.1 + 50)
    .map(({ name, before, after }) => `  ${name}: ${before} → ${after}`);
  return lines.length === 0 ? '' : ['more in the end than in the middle:', ...lines].join('\n');
}
