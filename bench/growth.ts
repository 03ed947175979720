import { setTimeout as delay } from 'node:timers/promises';
import { sum } from '../src/core/arrays.ts';
import type { DurationSample } from '../src/core/cadence/phase.ts';
import { RuleBook } from '../src/core/alert/entry.ts';
import { StoreRepair } from '../src/daemon/store-repair.ts';
import { countStored } from '../src/daemon/stores.ts';
import { pino } from 'pino';
import { StatisticsCache } from '../src/source/statistics-cache.ts';
import { configSchema } from '../src/config/schema.ts';
import type { Logger } from '../src/telemetry/logger.ts';
import { newWatch } from '../test/support/builders.ts';
import { testProcess } from '../test/support/daemon.ts';
import { openStores } from '../test/support/stores.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startDaemon, type BenchDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult, type Figure } from './support/figures.ts';
import { runIdAt, startNoxus, type BenchNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import { FAILED, fillWith, FULL, sampleOf } from './support/settled-runs.ts';

/** The larger store has so many times as much as the smaller one. */
const TIMES = 4;

/** One in so many runs is a failed one with a dead delivery. */
const FAILED_SHARE = 8;

const ENDPOINTS = Array.from({ length: 300 }, (_, at) => `to-${at}`);

/** Calls of one kind. */
const CALLS = 10;

/** Watches written by one command. */
const CHUNK = 200;

const HOUR_MS = 3_600_000;

interface GrowthOptions {
  /** Settled runs in the larger store. */
  count: number;
}

interface Stage {
  context: BenchContext;
  redis: BenchRedis;
  noxus: BenchNoxus;
  stores: ReturnType<typeof openStores>;
}

/** What is in a store. */
interface Size {
  runs: number;
  watches: number;
  workflows: number;
}

/** Commands as Redis counts them, those of scripts included, and the time that its main thread takes. */
interface Cost {
  commands: number;
  us: number;
}

/**
 * What must not grow with what is kept, on two stores of which one has four times as much: commands of Redis,
 * and its own CPU time. Measured: look-ups, the metrics, what needs attention, the statistics of workflows, the
 * comparison of records with what points to them, a start with active watches, and forgetting.
 */
export async function benchGrowth({ count }: GrowthOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
    context.onEnd(async () => stores.close());
    const stage = { context, redis, noxus, stores };
    const large = { runs: count, watches: Math.ceil(count / 5), workflows: Math.ceil(count / 60) };
    const small = {
      runs: Math.ceil(count / TIMES),
      watches: Math.ceil(large.watches / TIMES),
      workflows: Math.ceil(large.workflows / TIMES),
    };
    const [less, more] = [await measure(stage, small), await measure(stage, large)];
    const commands = more.start.commands - less.start.commands;
    return {
      figures: [
        ...[less, more].flatMap((one) => figuresOf(one)),
        figure(
          'a start, for each watch more: commands',
          commands / (large.watches - small.watches),
          2,
        ),
      ],
      details: { redis: redis.version, less, more },
    };
  });
}

type Measured = Awaited<ReturnType<typeof measure>>;

function figuresOf(measured: Measured): Figure[] {
  const { size, start, lookups, metrics, attention, statistics, comparison, forgetting } = measured;
  const runs = `${size.runs.toLocaleString('en')} runs`;
  const watches = `${size.watches.toLocaleString('en')} active watches`;
  return [
    ...lookups.flatMap(({ what, cost }) => [
      figure(`${runs}: look-up of ${what}: commands`, cost.commands, 120),
      figure(`${runs}: look-up of ${what}: Redis`, cost.us, 2_000, 'µs'),
    ]),
    figure(`${runs}: /metrics: commands`, metrics.commands, 80),
    figure(`${runs}: /metrics: Redis`, metrics.us, 1_000, 'µs'),
    // The same at every size: some for each kind of what needs a person, batches that are open among them.
    figure(`${runs}, 300 endpoints: /v1/attention: commands`, attention.commands, 22),
    figure(`${runs}, 300 endpoints: /v1/attention: Redis`, attention.us, 1_000, 'µs'),
    figure(
      `${size.workflows.toLocaleString('en')} workflows: statistics: commands a second`,
      statistics.commands / 5,
      12,
    ),
    figure(`${runs}: comparing records: commands a second`, comparison.commands / 30, 2),
    figure(`${runs}: forgetting, a run: commands`, forgetting.commands, 110),
    { name: `${watches}: start to calm: commands`, value: start.commands, unit: '' },
    { name: `${watches}: start to calm: CPU of the daemon`, value: start.cpuMs, unit: 'ms' },
  ];
}

function figure(name: string, value: number, atMost: number, unit = ''): Figure {
  return { name, value: rounded(value), unit, target: { atMost } };
}

async function measure(stage: Stage, size: Size) {
  await settle(stage, size);
  const comparison = await comparisonOf(stage);
  await register(stage, size);
  const statistics = await statisticsOf(stage, size);
  const metrics = await costOf(
    stage,
    async () => void (await countStored(stage.stores, { book: new RuleBook([]) })),
  );
  const lookups = await lookupsOf(stage);
  const daemon = await startWith300(stage);
  const started = await calm(stage, daemon);
  const attention = await costOf(stage, async () => {
    const response = await fetch(`${daemon.url}/v1/attention`);
    if (!response.ok) throw new Error(`attention answers ${response.status}`);
    await response.text();
  });
  await daemon.end();
  const forgetting = await forgettingOf(stage);
  return { size, start: started, lookups, metrics, attention, statistics, comparison, forgetting };
}

/** Settled runs, of which some have failed. */
async function settle({ redis, stores }: Stage, { runs }: Size): Promise<void> {
  await redis.flush();
  const [full, failed] = [await sampleOf(stores, FULL), await sampleOf(stores, FAILED)];
  await redis.flush();
  const samples = Array.from({ length: FAILED_SHARE - 1 }, () => full);
  await fillWith(stores, [...samples, failed], runs);
}

/** Active watches that are polled in an hour. */
async function register({ stores }: Stage, { watches }: Size): Promise<void> {
  for (let at = 0; at < watches; at += CHUNK) {
    const some = Array.from({ length: Math.min(CHUNK, watches - at) }, (_, index) =>
      registration(runIdAt(at + index)),
    );
    await stores.watches.commitMany(some);
  }
}

/** Of a run that is polled in an hour. */
function registration(runId: string) {
  return {
    before: null,
    after: newWatch({ runId, registeredAt: Date.now() }),
    events: [],
    deliveries: [],
    schedule: { does: 'enter', withinMs: HOUR_MS, kind: 'watch' } as const,
  };
}

async function lookupsOf(stage: Stage) {
  const { lookup } = stage.stores;
  const some = (await namesOf(stage))[0] ?? '';
  const wanted = [
    { what: 'a run', prefix: some.slice(0, 10) },
    { what: 'what many begin with', prefix: some.slice(0, 1) },
    { what: 'nothing', prefix: 'zzzzzzzz' },
  ];
  const costs = [];
  for (const { what, prefix } of wanted) {
    const find = async () => void (await lookup.find({ kind: 'run', prefix, limit: 10 }));
    costs.push({ what, cost: await costOf(stage, find) });
  }
  return costs;
}

async function namesOf({ stores: { redis, keys } }: Stage): Promise<string[]> {
  const found = await redis.hvals(`${keys.watchNames}0`);
  return found.map((name) => name.slice(name.indexOf('/') + 1));
}

/** What a process asks every 5 s that knows so many workflows, of which nothing was learned since. */
async function statisticsOf(stage: Stage, { workflows }: Size): Promise<Cost> {
  const { watches, statistics: store } = stage.stores;
  const names = Array.from({ length: workflows }, (_, at) => `workflow-${at}`);
  for (const [at, workflowId] of names.entries()) {
    const sample: DurationSample = {
      source: 'default',
      workflowId,
      state: 'running/0',
      fromS: 0,
      toS: 10,
      ended: true,
    };
    await watches.commit({ ...registration(`learned-${at}`), samples: [sample] });
  }
  let now = 0;
  const cache = new StatisticsCache(store, () => now, pino({ level: 'silent' }));
  for (const name of names) cache.lookup('default', name, 'running/0');
  await cache.refresh();
  return costOf(stage, async () => {
    now += 5_000;
    await cache.refresh();
  });
}

/** What a process asks every 30 s that compares some records with what points to them. */
async function comparisonOf(stage: Stage): Promise<Cost> {
  const { stores } = stage;
  let isOver: () => void = () => undefined;
  const config = configSchema.parse({ data_dir: '/nowhere', watches: { retention: '1h' } });
  const process = testProcess({ config, stores, log: quietLog() });
  const repair = new StoreRepair(process, { checkRecords: () => isOver() }, { sample: () => [] });
  const compared = new Promise<void>((resolve) => (isOver = resolve));
  repair.start(() => undefined);
  repair.check();
  await compared;
  const cost = await costOf(stage, async () => {
    const over = new Promise<void>((resolve) => (isOver = resolve));
    repair.check();
    await over;
  });
  await repair.stop();
  return cost;
}

/** The log of a part that has nothing to say; what it says fails the bench. */
function quietLog(): Logger {
  const fail = (fields: unknown, message: unknown) => {
    throw new Error(`${String(message)}: ${JSON.stringify(fields)}`);
  };
  return { warn: fail, error: fail, info: fail } as unknown as Logger;
}

async function startWith300({ context, redis, noxus }: Stage): Promise<BenchDaemon> {
  return startDaemon(context, {
    profileDir: null,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      polling: { lists: 'off' },
      watches: { retention: '365d' },
      delivery: { keep: 10_000_000 },
      endpoints: Object.fromEntries(['ops', ...ENDPOINTS].map((name) => [name, { type: 'log' }])),
    },
  });
}

/** Commands in one such time, and how few of them mean that the work of the start is over. */
const WINDOW_MS = 500;
const CALM = 30;

/** Waits until the work of a start is over. @returns what it took until then */
async function calm({ redis }: Stage, daemon: BenchDaemon) {
  let commands = await commandsOf(redis);
  for (let quiet = 0; quiet < 2;) {
    await delay(WINDOW_MS);
    const some = await commandsOf(redis);
    commands += some;
    quiet = some < CALM ? quiet + 1 : 0;
  }
  const { cpuUs } = await daemon.usage();
  return { commands, cpuMs: Math.round(cpuUs / 1_000) };
}

/** What the cheaper half of some calls takes at the most: a daemon has other work besides. */
async function costOf({ redis }: Stage, call: () => Promise<void>): Promise<Cost> {
  const costs: Cost[] = [];
  for (let at = 0; at < CALLS; at += 1) {
    await commandsOf(redis);
    const before = await cpuOf(redis);
    await call();
    const us = (await cpuOf(redis)) - before;
    costs.push({ commands: await commandsOf(redis), us });
  }
  return {
    commands: median(costs.map(({ commands }) => commands)),
    us: median(costs.map(({ us }) => us)),
  };
}

/** Forgets runs that ended longest ago. */
async function forgettingOf(stage: Stage): Promise<Cost> {
  const { redis, stores } = stage;
  await commandsOf(redis);
  const before = await cpuOf(redis);
  const { forgotten } = await stores.retention.forgetWatches(Date.now(), HOUR_MS);
  const us = (await cpuOf(redis)) - before;
  return { commands: (await commandsOf(redis)) / forgotten, us: us / forgotten };
}

/** Commands of the measurement itself, which do not count. */
const OWN = new Set(['info', 'config|resetstat']);

async function commandsOf(redis: BenchRedis): Promise<number> {
  const counted = Object.entries(await redis.takeCommands()).filter(([name]) => !OWN.has(name));
  return sum(counted.map(([, calls]) => calls));
}

/** The CPU time of Redis's main thread so far, µs. */
async function cpuOf(redis: BenchRedis): Promise<number> {
  const { used_cpu_user_main_thread: user = NaN, used_cpu_sys_main_thread: sys = NaN } =
    await redis.info('cpu');
  return (user + sys) * 1e6;
}
