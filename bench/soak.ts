import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../src/core/backoff.ts';
import { randomScripts } from '../src/simulator/random-scripts.ts';
import { randomInteger, seededRandom } from '../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { startPrivateRedis, type PrivateRedis } from '../test/support/redis-process.ts';
import { startRestlessDaemon, type RestlessDaemon } from '../test/support/restless-daemon.ts';
import { comeToRest, type Account } from './support/account.ts';
import { sampleBalance, type BalanceSamples } from './support/balance.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { onGround, type Ground } from './support/ground.ts';
import { startMoodyReceivers, type MoodyReceivers } from './support/moody-receivers.ts';

const DAEMONS = 2;

/** Attempts at one endpoint at a time, over all daemons. */
const PER_ENDPOINT = 4;

/** How long runs last, ms: several kills fall within each. */
const RUNS_WITHIN_MS = 8_000;

const KILL_EVERY_MS = { least: 4_000, most: 12_000 };

/** Every so many kills, Redis is killed as well. */
const REDIS_EVERY = 4;

interface SoakOptions {
  minutes: number;
  /** Runs registered per second. */
  rate: number;
  seed: number;
}

interface Stage {
  noxus: Simulator;
  redis: PrivateRedis;
  daemons: RestlessDaemon[];
  receivers: MoodyReceivers;
  random: Random;
  registered: string[];
  kills: { daemons: number; redis: number };
}

/**
 * A mixed run with kills: runs of the fake Noxus live and end, each watched by a registration that is
 * asked for until it is answered; endpoints that are healthy, flaky, hang now and then, answer 429,
 * and one day 410; two daemons on one Redis, which are killed and started again at random, and the
 * Redis with them now and then. Each second the public metrics are asked whether the deliveries by
 * state add up to the planned ones. In the end every receiver heals, and all comes to rest.
 *
 * Targets: the equation holds in every sample, nothing is lost, and at most as much came twice as was
 * on its way at the kills.
 */
export async function benchSoak(options: SoakOptions): Promise<BenchResult> {
  return onGround(async (ground) => {
    const stage = await setUp(ground, options);
    const { daemons } = stage;
    const rest = new AbortController();
    const url = (sample: number) => daemons[sample % DAEMONS]?.current.url ?? '';
    const sampling = sampleBalance(url, rest.signal);
    try {
      const until = Date.now() + options.minutes * 60_000;
      await Promise.all([registerRuns(stage, options, until), killAtRandom(stage, until)]);
      stage.receivers.heal();
      const account = await comeToRest({ ...stage, redisUrl: stage.redis.url });
      rest.abort();
      return resultOf(stage, account, await sampling);
    } finally {
      rest.abort();
    }
  });
}

async function setUp(ground: Ground, { seed }: SoakOptions): Promise<Stage> {
  const random = seededRandom(seed);
  const noxus = await startSimulator();
  ground.onEnd(() => noxus.close());
  const redis = await startPrivateRedis({ aof: true });
  ground.onEnd(() => redis.stop());
  const receivers = await startMoodyReceivers(ground, random);
  const daemons: RestlessDaemon[] = [];
  for (let index = 0; index < DAEMONS; index += 1) {
    const dataDir = join(ground.dir, `daemon-${index}`);
    await mkdir(dataDir);
    const daemon = await startRestlessDaemon({
      dataDir,
      env: { REDIS_URL: `unix://${redis.url}` },
      config: configOf(noxus, receivers),
    });
    ground.onEnd(async () => void (await daemon.stop()));
    daemons.push(daemon);
  }
  await Promise.all(daemons.map((daemon) => daemon.current.ready()));
  return {
    noxus,
    redis,
    daemons,
    receivers,
    random,
    registered: [],
    kills: { daemons: 0, redis: 0 },
  };
}

function configOf(noxus: Simulator, { all }: MoodyReceivers): Record<string, unknown> {
  return {
    sources: {
      default: {
        base_url: noxus.url,
        api_key: noxus.apiKey,
        rate_limit: { requests: 10_000, per: '1s' },
      },
    },
    polling: { min_interval: '250ms', max_interval: '1s' },
    endpoints: Object.fromEntries(all.map(({ mood, endpoint }) => [mood, endpoint])),
    delivery: { per_endpoint: PER_ENDPOINT },
    egress: { allow: ['127.0.0.1/32'] },
  };
}

/** Registers as a client does that asks again until it has a good answer. */
async function registerRuns(stage: Stage, { rate, seed }: SoakOptions, until: number) {
  for (let second = 0; Date.now() < until; second += 1) {
    const scripts = randomScripts({
      count: rate,
      seed: seed + second,
      within_ms: RUNS_WITHIN_MS,
      min_pause_ms: 1_500,
    });
    for (const script of scripts) stage.noxus.add(script);
    const ids = scripts.map(({ id = '' }) => id);
    const watches = ids.map((id) => ({ run_id: id }));
    while (!(await isRegistered(stage, watches))) await delay(200);
    stage.registered.push(...ids);
    await delay(1_000);
  }
}

async function isRegistered(
  { daemons, random }: Stage,
  watches: { run_id: string }[],
): Promise<boolean> {
  try {
    const daemon = daemons[randomInteger(random, 0, daemons.length - 1)];
    const answer = await daemon?.current.api<{ results?: { status: number }[] }>(
      '/v1/watches/batch',
      { watches },
    );
    return answer?.body.results?.every(({ status }) => status < 300) ?? false;
  } catch {
    // It was killed before it could answer: ask again.
    return false;
  }
}

async function killAtRandom(stage: Stage, until: number): Promise<void> {
  const { random, kills, daemons, redis } = stage;
  for (;;) {
    await delay(randomInteger(random, KILL_EVERY_MS.least, KILL_EVERY_MS.most));
    if (Date.now() > until) return;
    await daemons[randomInteger(random, 0, daemons.length - 1)]?.kill();
    kills.daemons += 1;
    if (kills.daemons % REDIS_EVERY !== 0) continue;
    await redis.restart();
    kills.redis += 1;
  }
}

function resultOf(
  { registered, kills, receivers }: Stage,
  account: Account,
  samples: BalanceSamples,
): BenchResult {
  // Any attempt may have been on its way at each kill, whichever side of it was killed.
  const inFlight = PER_ENDPOINT * receivers.all.length;
  const none = { atMost: 0 };
  return {
    figures: [
      { name: 'runs', value: registered.length, unit: '' },
      { name: 'deliveries', value: account.planned, unit: '' },
      { name: 'kills of daemons', value: kills.daemons, unit: '' },
      { name: 'kills of Redis', value: kills.redis, unit: '' },
      { name: 'samples in which deliveries add up', value: samples.balanced, unit: '' },
      {
        name: 'samples in which they do not',
        value: samples.unbalanced.length,
        unit: '',
        target: none,
      },
      { name: 'seconds without an answer', value: samples.unanswered, unit: '' },
      { name: 'lost', value: account.lost, unit: '', target: none },
      { name: 'runs whose end was not seen', value: account.untold, unit: '', target: none },
      { name: 'forged', value: account.forged, unit: '', target: none },
      {
        name: 'came twice',
        value: account.duplicates,
        unit: '',
        target: { atMost: inFlight * (kills.daemons + kills.redis) },
      },
      { name: 'to come to rest', value: rounded(account.restMs / 1_000), unit: 's' },
    ],
    details: { by_state: account.byState, unbalanced: samples.unbalanced },
  };
}
