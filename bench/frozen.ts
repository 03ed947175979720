import { setTimeout as delay } from 'node:timers/promises';
import { startSimulator, type Simulator } from '../src/simulator/server.ts';
import { waitFor } from '../test/support/wait-for.ts';
import { startDaemon } from './support/daemon.ts';
import type { BenchResult } from './support/figures.ts';
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

/** How long both daemons work between two faults, ms. */
const CALM_MS = 2_000;

/**
 * One of two daemons is away for 9 s while it sends a stream of events: frozen, or with held-up
 * replies of Redis, in turn. The other one finds it dead and sends its claims, and more. When the
 * first one comes back, it must not send its old claims. Target: no event of a run arrives after a
 * later one.
 */
export async function benchFrozen({ rounds }: { rounds: number }): Promise<BenchResult> {
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
        { name: 'events sent', value: webhooks.length, unit: '' },
        { name: 'of these again', value: repeats, unit: '' },
      ],
      details: {},
    };
  });
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
