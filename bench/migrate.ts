import { randomBytes } from 'node:crypto';
import { mapInChunks, sum } from '../src/core/arrays.ts';
import { startPeriodic } from '../src/periodic.ts';
import { newWatch } from '../test/support/builders.ts';
import { giveShades, heldAt, nextKeys } from '../test/support/next-form.ts';
import { openStores } from '../test/support/stores.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { spawnDaemon, type LogLine, type SpawnedDaemon } from './support/daemon.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { nextBuild } from './support/next-build.ts';
import { runIdAt, startNoxus, type BenchNoxus } from './support/noxus.ts';
import { residentBytes } from './support/process.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import {
  ACTIVE,
  FAILED,
  fillWith,
  FULL,
  sampleOf,
  SHORT,
  writeRun,
  type RunShape,
  type Sample,
} from './support/settled-runs.ts';
import { noteBlocks } from './support/slow-log.ts';

const KEY = Buffer.alloc(32, 9).toString('base64');

/** The smaller store has this share of the runs. */
const SMALLER = 0.1;

/** Settled runs for each failed one and each with very many events. */
const FULLS = 120;
const SHORTS = 78;

/** One in so many runs goes on, with a long history of polls. */
const ACTIVE_SHARE = 50;

/** One in so many has ended and waits for its delivery. */
const PENDING_SHARE = 200;

/** One in so many goes on with as much metadata as a watch may have. */
const LARGE_SHARE = 100;

/** Written at a time. */
const AT_ONCE = 50;

const SAMPLE_MS = 25;

/** Characters of metadata of a large record. */
const LARGE_BYTES = 4_000;

const MIGRATED_WITHIN_MS = 900_000;

/** A step may block Redis for so long, ms. */
const MOST_MS = 5;

/** A run with very many events. */
const LONG: RunShape = {
  statuses: [
    ...Array.from({ length: 100 }, (_, at) => [
      { status: 'running', progress: at },
      { status: 'awaiting_human_feedback', progress: at },
    ]).flat(),
    { status: 'completed', progress: 100 },
  ],
  delivered: ['run.awaiting_human_feedback', 'run.completed'],
  polls: 60,
};

interface Stage {
  context: BenchContext;
  redis: BenchRedis;
  noxus: BenchNoxus;
  stores: ReturnType<typeof openStores>;
  main: string;
}

/**
 * A migration to the next form, as the tests have it, by a built daemon: of settled runs with few and with very many
 * events, of runs that go on, and of runs with pending deliveries. Measured: how long it takes, for how long a command
 * blocks Redis, memory of the process and of Redis, and what the log says meanwhile; then the start of a daemon that
 * finds nothing to migrate. Targets: no run is lost, 99.9 % of the commands block Redis for 5 ms at most, and the
 * process takes at most 64 MB more for ten times as many runs.
 */
export async function benchMigrate({ count }: { count: number }): Promise<BenchResult> {
  return withContext(async (context) => {
    const main = await nextBuild(context);
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
    context.onEnd(async () => stores.close());
    const stage = { context, redis, noxus, stores, main };
    const less = await measure(stage, Math.ceil(count * SMALLER));
    const more = await measure(stage, count);
    return {
      figures: [
        ...figuresOf(less),
        ...figuresOf(more),
        {
          name: 'memory of the process for so many more runs',
          value: rounded((more.processBytes - less.processBytes) / 1e6),
          unit: 'MB',
          target: { atMost: 64 },
        },
      ],
      details: { redis: redis.version, less: less.slow, more: more.slow },
    };
  });
}

type Measured = Awaited<ReturnType<typeof measure>>;

function figuresOf(measured: Measured): Figure[] {
  const { runs, lost, seconds, commands, over, longestMs, said, silenceMs } = measured;
  const name = `${runs.toLocaleString('en')} runs`;
  const figure = (what: string, value: number, unit = ''): Figure => {
    return { name: `${name}: ${what}`, value: rounded(value), unit };
  };
  return [
    { ...figure('lost or misread', lost), target: { atMost: 0 } },
    figure('migration', seconds, 's'),
    figure('migrated', runs / seconds, '/s'),
    figure('commands of Redis', commands),
    {
      ...figure(`commands over ${MOST_MS} ms`, (over / commands) * 100, '%'),
      target: { atMost: 0.1 },
    },
    figure('longest block of Redis', longestMs, 'ms'),
    figure('memory of the process, over waiting', measured.processBytes / 1e6, 'MB'),
    figure('memory of Redis before', measured.redisBefore / 1e6, 'MB'),
    figure('memory of Redis, most', measured.redisMost / 1e6, 'MB'),
    figure('progress in the log', said),
    figure('longest silence of the log', silenceMs / 1_000, 's'),
    figure('from the end of the migration to ready', measured.readyMs, 'ms'),
    figure('start with nothing to migrate, to ready', measured.startMs, 'ms'),
  ];
}

async function measure(stage: Stage, runs: number) {
  const { context, redis, stores } = stage;
  const shades = await fill(stage, runs);
  const redisBefore = await usedMemory(redis);
  // Held at its first step, it waits with all that it is made of.
  await stores.redis.set(heldAt(stores.keys), 0);
  const daemon = await start(stage);
  await lineOf(daemon, 'store.migration');
  const blocks = await noteBlocks(context, redis);
  await redis.takeCommands();
  const memory = sampleMemory(redis, daemon);
  await stores.redis.del(heldAt(stores.keys));
  const begun = Date.now();
  const ended = timeOf(await lineOf(daemon, 'store.migrated'));
  const { evalsha: scripts = 0, mget: reads = 0 } = await redis.takeCommands();
  const { longestMs, over, slow } = await blocks();
  const most = await memory.stop();
  const ready = await daemon.ready();
  const lines = await daemon.lines();
  const readyMs = timeOf(await lineOf(daemon, 'ready')) - ended;
  await ready.end();
  const again = await start(stage);
  const last = await again.ready();
  const startMs = timeOf(await lineOf(again, 'ready')) - last.startedAt;
  await last.end();
  const said = lines.filter(({ msg }) => msg === 'store.migration').map(timeOf);
  return {
    runs,
    lost: await lostOf(stage, shades),
    seconds: (ended - begun) / 1_000,
    commands: scripts + reads,
    over: over(MOST_MS),
    longestMs,
    slow,
    ...most,
    redisBefore,
    said: said.length,
    silenceMs: longestGap([begun, ...said.filter((at) => at > begun), ended]),
    readyMs,
    startMs,
  };
}

/** A store with so many runs. @returns the shade of each, by the id of its watch */
async function fill({ redis, stores }: Stage, runs: number): Promise<Map<string, string>> {
  const settled = [];
  for (const shape of [FULL, SHORT, FAILED, LONG]) {
    await redis.flush();
    settled.push(await sampleOf(stores, shape));
  }
  const [full, short, failed, long] = settled as [Sample, Sample, Sample, Sample];
  await redis.flush();
  await stores.forms.claim('0');
  const active = Math.ceil(runs / ACTIVE_SHARE);
  const pending = Math.ceil(runs / PENDING_SHARE);
  const large = Math.ceil(runs / LARGE_SHARE);
  const samples = [...repeated(FULLS, full), ...repeated(SHORTS, short), failed, long];
  await fillWith(stores, samples, runs - active - pending - large);
  await writeMany(active, async (at) => writeRun(stores, ACTIVE, at));
  await writeMany(pending, async (at) => writeRun(stores, { ...FULL, end: 'none' }, at));
  await writeMany(large, async (at) => {
    const metadata = { team: 'large', notes: randomBytes(LARGE_BYTES / 2).toString('hex') };
    const after = newWatch({ runId: runIdAt(at), metadata, registeredAt: Date.now() });
    await stores.watches.commit({ before: null, after, events: [], deliveries: [] });
  });
  const shades = await giveShades(stores.redis, stores.keys);
  if (shades.size !== runs) throw new Error(`${shades.size} of ${runs} runs are in the store`);
  return shades;
}

async function writeMany(count: number, write: (at: number) => Promise<unknown>): Promise<void> {
  const numbers = Array.from({ length: count }, (_, at) => at);
  await mapInChunks(numbers, AT_ONCE, write);
}

function repeated<Item>(count: number, item: Item): Item[] {
  return Array.from({ length: count }, () => item);
}

/** How many runs are gone, or have another shade than they had. */
async function lostOf({ stores }: Stage, shades: ReadonlyMap<string, string>): Promise<number> {
  const tints = await stores.redis.hgetall(nextKeys(stores.keys).tints);
  const misread = [...shades].filter(([id, shade]) => tints[id] !== shade).length;
  const left = sum(Object.values(await stores.watches.counts()));
  return misread + Math.abs(shades.size - left);
}

async function start({ context, redis, noxus, main }: Stage): Promise<SpawnedDaemon> {
  return spawnDaemon(context, {
    profileDir: null,
    main,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
      watches: { retention: '365d' },
      delivery: { keep: 10_000_000 },
      endpoints: { ops: { type: 'log' } },
      // One with another key reads the whole store at its start.
      encryption: { keys: [KEY] },
    },
  });
}

/** Waits for a line of the log. */
async function lineOf(daemon: SpawnedDaemon, message: string): Promise<LogLine> {
  return waitFor(async () => (await daemon.lines()).find(({ msg }) => msg === message), {
    timeoutMs: MIGRATED_WITHIN_MS,
    everyMs: SAMPLE_MS,
    describe: message,
  });
}

function timeOf({ time }: LogLine): number {
  return Date.parse(time);
}

function longestGap(times: readonly number[]): number {
  return Math.max(...times.slice(1).map((at, index) => at - (times[index] ?? at)));
}

/** Samples the memory of a daemon and of Redis. */
function sampleMemory(redis: BenchRedis, { pid }: SpawnedDaemon) {
  const process: number[] = [];
  const server: number[] = [];
  const sampling = startPeriodic(
    async () => {
      process.push((await residentBytes(pid)) ?? 0);
      server.push(await usedMemory(redis));
    },
    {
      everyMs: SAMPLE_MS,
      onError: (error) => {
        throw error;
      },
    },
  );
  return {
    async stop() {
      await sampling.stop();
      const processBytes = Math.max(...process) - (process[0] ?? 0);
      return { processBytes, redisMost: Math.max(...server) };
    },
  };
}

async function usedMemory(redis: BenchRedis): Promise<number> {
  const { used_memory: used = NaN } = await redis.info('memory');
  return used;
}
