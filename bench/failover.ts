import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { randomInteger, seededRandom } from '../src/simulator/seeded-random.ts';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { startPrivateRedis } from '../test/support/redis-process.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { sourceAt, startDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startWebhookLog, type Webhook, type WebhookLog } from './support/webhook-log.ts';

/** A run begins at this interval, and lives for some seconds, ms. */
const RUN_EVERY_MS = 150;

/** The range of time over which the latest writes are lost, ms. */
const LOST_MS = { least: 100, most: 2_500 };

/** The quiet time between two losses, ms. */
const CALM_MS = { least: 500, most: 3_000 };

const ENDS: ReadonlySet<string> = new Set(['run.completed', 'run.failed', 'run.stopped']);

interface FailoverOptions {
  rounds: number;
  seed: number;
}

/**
 * Redis comes back without its latest writes, as after a failover to a lagging replica. This
 * happens repeatedly at random moments, while runs begin, wait, go on and end. Two daemons follow
 * them. Targets: no two changes share an id, no end of a run has two, every end is notified, and
 * each loss is announced within 10 s.
 */
export async function benchFailover({ rounds, seed }: FailoverOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const random = seededRandom(seed);
    const stage = await setUp(context);
    const announced: (number | null)[] = [];
    for (let round = 0; round < rounds; round += 1) {
      await delay(randomInteger(random, CALM_MS.least, CALM_MS.most));
      await stage.control.call('SAVE');
      await delay(randomInteger(random, LOST_MS.least, LOST_MS.most));
      announced.push(await lose(stage));
    }
    stage.stopRuns();
    await waitFor(() => endsMissing(stage) === 0, { timeoutMs: 90_000 }).catch(() => undefined);
    return resultOf(stage, announced);
  });
}

interface Stage {
  redis: Awaited<ReturnType<typeof startPrivateRedis>>;
  control: Redis;
  log: WebhookLog;
  registered: string[];
  stopRuns: () => void;
}

/** @returns the time from the loss to its announcement, ms; null where it never came */
async function lose({ redis, log }: Stage): Promise<number | null> {
  const before = log.of('store.data_lost').length;
  await redis.restart();
  const at = Date.now();
  const isAnnounced = () => log.of('store.data_lost').length > before;
  return waitFor(isAnnounced, { timeoutMs: 20_000 }).then(
    () => Date.now() - at,
    () => null,
  );
}

async function setUp(context: BenchContext): Promise<Stage> {
  const redis = await startPrivateRedis({ tcp: true });
  context.onEnd(() => redis.stop());
  const control = new Redis(redis.url, { retryStrategy: () => 50 });
  control.on('error', () => undefined);
  context.onEnd(async () => control.disconnect());
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const log = await startWebhookLog(context);
  const config = configOf(noxus, log.url, redis.url);
  const first = await startDaemon(context, config);
  await startDaemon(context, config);
  const registered: string[] = [];
  const timer = setInterval(() => {
    const { id } = noxus.add({ steps: stepsOf(registered.length) });
    // A failed registration while Redis is away does not matter here.
    first.register([id]).then(
      () => registered.push(id),
      () => undefined,
    );
  }, RUN_EVERY_MS);
  const stopRuns = () => clearInterval(timer);
  context.onEnd(async () => stopRuns());
  return { redis, control, log, registered, stopRuns };
}

/** Runs that wait once or twice, and end within some seconds. */
function stepsOf(at: number) {
  const waits = 'awaiting_human_feedback';
  const end = at % 3 === 0 ? 'failed' : 'completed';
  return [
    { after_ms: 0, status: 'running', progress: 0 },
    { after_ms: 400 + (at % 7) * 150, status: waits, progress: 20 },
    { after_ms: 900 + (at % 7) * 200, status: 'running', progress: 40 },
    { after_ms: 1_300 + (at % 7) * 250, status: waits, progress: 60 },
    { after_ms: 1_800 + (at % 7) * 300, status: 'running', progress: 80 },
    { after_ms: 2_300 + (at % 7) * 400, status: end, progress: 100 },
  ];
}

function configOf(noxus: Simulator, receiverUrl: string, redisUrl: string) {
  return {
    profileDir: null,
    config: {
      redis: { url: redisUrl },
      sources: {
        default: sourceAt(noxus),
      },
      polling: { min_interval: '50ms', max_interval: '200ms', lists: 'off' },
      endpoints: { all: { type: 'webhook', url: receiverUrl, events: ['*', 'store.data_lost'] } },
    },
  };
}

function endsMissing({ log, registered }: Stage): number {
  const ended = new Set(log.webhooks.flatMap(({ type, runId }) => (ENDS.has(type) ? [runId] : [])));
  return registered.filter((id) => !ended.has(id)).length;
}

function resultOf(stage: Stage, announced: (number | null)[]): BenchResult {
  const { log, registered } = stage;
  const found = announced.filter((ms) => ms !== null);
  const repeats = log.webhooks.length - new Set(log.webhooks.map(({ id }) => id)).size;
  return {
    figures: [
      { name: 'losses', value: announced.length, unit: '' },
      { name: 'runs', value: registered.length, unit: '' },
      { name: 'webhooks', value: log.webhooks.length, unit: '' },
      { name: 'of these again, under the same id', value: repeats, unit: '' },
      {
        name: 'ids of more than one change',
        value: idsOfSeveralChanges(log.webhooks),
        unit: '',
        target: { atMost: 0 },
      },
      {
        name: 'ends of runs with two ids',
        value: endsWithTwoIds(log.webhooks),
        unit: '',
        target: { atMost: 0 },
      },
      { name: 'ends not notified', value: endsMissing(stage), unit: '', target: { atMost: 0 } },
      {
        name: 'losses not announced',
        value: announced.length - found.length,
        unit: '',
        target: { atMost: 0 },
      },
      {
        name: 'loss to its announcement, at the most',
        value: rounded(Math.max(...found) / 1_000),
        unit: 's',
        target: { atMost: 10 },
      },
      { name: 'median', value: rounded(median(found) / 1_000), unit: 's' },
    ],
    details: { announced },
  };
}

/** An end is the same change whenever it is seen; every other entry is its own change. */
function idsOfSeveralChanges(webhooks: Webhook[]): number {
  const changes = new Map<string, Set<string>>();
  for (const { id, type, runId, detectedAt } of webhooks) {
    const change = ENDS.has(type) ? `${type} ${runId}` : `${type} ${runId} ${detectedAt}`;
    changes.set(id, (changes.get(id) ?? new Set()).add(change));
  }
  return [...changes.values()].filter(({ size }) => size > 1).length;
}

function endsWithTwoIds(webhooks: Webhook[]): number {
  const ids = new Map<string, Set<string>>();
  for (const { id, type, runId } of webhooks) {
    if (ENDS.has(type)) ids.set(runId, (ids.get(runId) ?? new Set()).add(id));
  }
  return [...ids.values()].filter(({ size }) => size > 1).length;
}
