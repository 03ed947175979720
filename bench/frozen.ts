import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { startDaemon } from './support/daemon.ts';
import { median, rounded, type BenchResult } from './support/figures.ts';
import { withContext, type BenchContext } from './support/context.ts';
import { startHeldRedis } from './support/held-redis.ts';
import { startRedis } from './support/redis.ts';
import { startWebhookLog, type Webhook } from './support/webhook-log.ts';

/** Runs that send progress all the time. */
const RUNS = 20;

const PROGRESS_EVERY_MS = 100;

/**
 * Longer than a process may be silent until it counts as dead, shorter than a delivery's lease, ms.
 */
const AWAY_MS = 9_000;

/** Daemons without work, two and two. */
const PAIRS = 3;

/** How long both daemons work between two faults, ms. */
const CALM_MS = 2_000;

/**
 * One of two daemons is away for 9 s while it sends a stream of events: frozen, or with held-up
 * replies of Redis, in turn. The other one finds it dead and sends its claims, and more. When the
 * first one comes back, it must not send its old claims. Target: no event of a run arrives after a
 * later one. And of two daemons without work the one freezes that hears of the next slot first: a run that is
 * registered at the other one is notified within 5 s.
 */
export async function benchFrozen({ rounds }: { rounds: number }): Promise<BenchResult> {
  const waits = await Promise.all(Array.from({ length: PAIRS }, () => withContext(registerBeside)));
  return withContext(async (context) => {
    const { webhooks, faults, stop } = await setUp(context);
    const late: Record<string, number> = {};
    for (let round = 0; round < rounds; round += 1) {
      for (const [name, fault] of Object.entries(faults)) {
        const from = webhooks.length;
        fault.begin();
        await delay(AWAY_MS);
        fault.end();
        await delay(CALM_MS);
        late[name] = (late[name] ?? 0) + countLate(webhooks, from);
      }
    }
    stop();
    const repeats = webhooks.length - new Set(webhooks.map(({ id }) => id)).size;
    return {
      figures: [
        ...Object.entries(late).map(([name, value]) => ({
          name: `${name}, ${rounds} times: earlier events after later ones`,
          value,
          unit: '',
          target: { atMost: 0 },
        })),
        {
          name: `the longest time to the webhook of a run beside a frozen process, ${PAIRS} times`,
          value: rounded(Math.max(...waits) / 1_000),
          unit: `s (median ${rounded(median(waits) / 1_000)})`,
          target: { atMost: 5 },
        },
        { name: 'events sent', value: webhooks.length, unit: '' },
        { name: 'of these again', value: repeats, unit: '' },
      ],
      details: {},
    };
  });
}

/** @returns from the registration of a run that had ended to its webhook, ms */
async function registerBeside(context: BenchContext): Promise<number> {
  const redis = await startRedis(context);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const { webhooks, url } = await startWebhookLog(context);
  const options = configOf(noxus, url, `unix://${redis.socket}`);
  const frozen = await startDaemon(context, options);
  const other = await startDaemon(context, options);
  await delay(CALM_MS);
  frozen.freeze();
  const at = Date.now();
  await other.register([noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] }).id]);
  await waitFor(() => webhooks.length > 0, { timeoutMs: 60_000 });
  return Date.now() - at;
}

async function setUp(context: BenchContext) {
  const redis = await startRedis(context);
  const held = await startHeldRedis(context, redis.socket);
  const noxus = await startSimulator();
  context.onEnd(() => noxus.close());
  const log = await startWebhookLog(context);
  const frozen = await startDaemon(context, configOf(noxus, log.url, held.url));
  const other = await startDaemon(context, configOf(noxus, log.url, `unix://${redis.socket}`));
  const ids = Array.from({ length: RUNS }, () => {
    return noxus.add({ steps: [{ after_ms: 0, status: 'running' }] }).id;
  });
  await other.register(ids);
  let progress = 0;
  const timer = setInterval(() => {
    progress = (progress + 1) % 100;
    for (const id of ids) noxus.setStatus(id, 'running', progress);
  }, PROGRESS_EVERY_MS);
  context.onEnd(async () => clearInterval(timer));
  await waitFor(() => log.webhooks.length > 10 * RUNS, { timeoutMs: 30_000 });
  return {
    webhooks: log.webhooks,
    faults: {
      'replies held': { begin: () => held.hold(), end: () => held.release() },
      frozen: { begin: () => frozen.freeze(), end: () => frozen.thaw() },
    },
    stop: () => clearInterval(timer),
  };
}

function configOf(noxus: Simulator, receiverUrl: string, redisUrl: string) {
  const limit = { requests: 10_000, per: '1s' };
  return {
    profileDir: null,
    config: {
      redis: { url: redisUrl },
      sources: {
        default: { base_url: noxus.url, api_key: noxus.apiKey, rate_limit: limit },
      },
      polling: { min_interval: '50ms', max_interval: '100ms', lists: 'off' },
      endpoints: { all: { type: 'webhook', url: receiverUrl, events: ['*'] } },
    },
  };
}

/** Events that arrived after a later one of their run. */
function countLate(webhooks: Webhook[], from: number): number {
  const latest = new Map<string, number>();
  return webhooks.filter(({ runId, sequence }, place) => {
    const seen = latest.get(runId) ?? 0;
    latest.set(runId, Math.max(seen, sequence));
    return place >= from && sequence < seen;
  }).length;
}
