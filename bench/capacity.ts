import { setTimeout as delay } from 'node:timers/promises';
import { sourceAt, startDaemon, type BenchDaemon } from './support/daemon.ts';
import { percentile, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { runIdAt, startNoxus } from './support/noxus.ts';
import { startRedis, type BenchRedis } from './support/redis.ts';
import { settled, startSending, type Sending } from './support/sending.ts';

/** Watches of each step; every one is due once a second. */
const STEPS = [500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500, 4_000, 5_000, 6_000, 8_000];

/** A step is carried when so many of the polls that are due are made. */
const IN_TIME = 0.95;

/** The interval at which most watches are polled by default, s. */
const USUAL_INTERVAL_S = 60;

const ENDPOINTS = 100;

/** Deliveries before those that are measured, and for each second of these. */
const WARM_UP = 1_000;

/** First polls, connections and compilation come before what is measured, ms. */
const SETTLE_MS = 4_000;

interface CapacityOptions {
  /** How long each step is measured. */
  seconds: number;
  profileDir: string | null;
}

/** What a second of work costs the two processes that are shared. */
interface Load {
  perSecond: number;
  /** Share of a core. */
  daemonShare: number;
  redisShare: number;
  rssBytes: number;
}

interface Step extends Load {
  watches: number;
}

/**
 * What one daemon carries. Polls: watches are added in steps, each watch due once a second, until
 * fewer than 95 % of the polls that are due are made. Deliveries: a backlog at 100 endpoints. The CPU
 * that Redis takes shows how many daemons one Redis can serve. No target: figures are for sizing.
 */
export async function benchCapacity(options: CapacityOptions): Promise<BenchResult> {
  const steps = await withContext((context) => pollInSteps(context, options));
  const sent = await withContext((context) => deliver(context, options));
  const carried = steps.findLast(isCarried) ?? steps[0];
  if (carried === undefined) throw new Error('there is no step');
  // Without a step that is carried, what was made of the first one.
  const inTime = isCarried(carried) ? carried.watches : Math.floor(carried.perSecond);
  const redisPolls = carried.perSecond / carried.redisShare;
  const redisDeliveries = sent.perSecond / sent.redisShare;
  return {
    figures: [
      { name: 'polls in time, one daemon', value: inTime, unit: '/s' },
      {
        name: `watches at an interval of ${USUAL_INTERVAL_S} s, one daemon`,
        value: inTime * USUAL_INTERVAL_S,
        unit: '',
      },
      {
        name: 'core that the daemon takes for these polls',
        value: rounded(carried.daemonShare),
        unit: '',
      },
      {
        name: 'core that Redis takes for these polls',
        value: rounded(carried.redisShare),
        unit: '',
      },
      { name: 'size of the daemon', value: Math.round(carried.rssBytes / 2 ** 20), unit: 'MiB' },
      { name: 'polls that one core of Redis serves', value: rounded(redisPolls), unit: '/s' },
      { name: 'deliveries, one daemon', value: rounded(sent.perSecond), unit: '/s' },
      {
        name: 'core that the daemon takes for these deliveries',
        value: rounded(sent.daemonShare),
        unit: '',
      },
      {
        name: 'core that Redis takes for these deliveries',
        value: rounded(sent.redisShare),
        unit: '',
      },
      {
        name: 'deliveries that one core of Redis serves',
        value: rounded(redisDeliveries),
        unit: '/s',
      },
    ],
    details: { steps, sent },
  };
}

function isCarried({ perSecond, watches }: Step): boolean {
  return perSecond >= IN_TIME * watches;
}

async function pollInSteps(context: BenchContext, { seconds, profileDir }: CapacityOptions) {
  const redis = await startRedis(context);
  const noxus = await startNoxus(context, Math.max(...STEPS));
  const daemon = await startDaemon(context, {
    profileDir,
    config: {
      redis: { url: `unix://${redis.socket}` },
      sources: {
        default: sourceAt(noxus, 100_000),
      },
      polling: { min_interval: '1s', max_interval: '1s', lists: 'off', hints: 'off' },
    },
  });
  const steps: Step[] = [];
  let registered = 0;
  for (const watches of STEPS) {
    const from = registered;
    await daemon.register(Array.from({ length: watches - from }, (_, at) => runIdAt(from + at)));
    registered = watches;
    await delay(SETTLE_MS);
    const before = await spent(daemon, redis);
    await delay(seconds * 1_000);
    const step = { watches, ...loadBetween(before, await spent(daemon, redis)) };
    steps.push(step);
    if (!isCarried(step)) break;
  }
  return steps;
}

/** The pace at which a backlog is worked off, and what it costs. */
async function deliver(
  context: BenchContext,
  { seconds, profileDir }: CapacityOptions,
): Promise<Load> {
  const sending = await startSending(context, { endpoints: ENDPOINTS, profileDir });
  await workOff(sending, WARM_UP);
  return workOff(sending, seconds * WARM_UP);
}

async function workOff(sending: Sending, count: number): Promise<Load> {
  const { daemon, redis, endpoints, outbox } = sending;
  const { cpuUs } = await daemon.usage();
  daemon.freeze();
  const names = Array.from({ length: count }, (_, at) => endpoints[at % endpoints.length] ?? '');
  const committed = await outbox.fill(names);
  const redisUs = await redisCpu(redis);
  daemon.thaw();
  const times = (await settled(sending, committed)).map(({ arrivedAt }) => arrivedAt);
  const after = await daemon.usage();
  // Of the middle nine tenths: neither how it begins nor how it runs out.
  const [from, to] = [percentile(times, 0.05), percentile(times, 0.95)];
  const perSecond = (count * 0.9 * 1_000) / Math.max(1, to - from);
  const workUs = (count / perSecond) * 1e6;
  return {
    perSecond,
    daemonShare: (after.cpuUs - cpuUs) / workUs,
    redisShare: ((await redisCpu(redis)) - redisUs) / workUs,
    rssBytes: after.rssBytes,
  };
}

interface Spent {
  at: number;
  polls: number;
  daemonUs: number;
  redisUs: number;
  rssBytes: number;
}

async function spent(daemon: BenchDaemon, redis: BenchRedis): Promise<Spent> {
  const { polls, cpuUs, rssBytes } = await daemon.usage();
  return {
    at: performance.now(),
    polls,
    daemonUs: cpuUs,
    redisUs: await redisCpu(redis),
    rssBytes,
  };
}

async function redisCpu(redis: BenchRedis): Promise<number> {
  const { used_cpu_user: user = 0, used_cpu_sys: system = 0 } = await redis.info('cpu');
  return (user + system) * 1e6;
}

function loadBetween(before: Spent, after: Spent): Load {
  const elapsedUs = (after.at - before.at) * 1_000;
  return {
    perSecond: ((after.polls - before.polls) * 1e6) / elapsedUs,
    daemonShare: (after.daemonUs - before.daemonUs) / elapsedUs,
    redisShare: (after.redisUs - before.redisUs) / elapsedUs,
    rssBytes: after.rssBytes,
  };
}
