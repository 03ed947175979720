import { setTimeout as delay } from 'node:timers/promises';
import { openStores } from '../test/support/stores.ts';
import { startDaemon } from './support/daemon.ts';
import { rounded, type BenchResult } from './support/figures.ts';
import { listingTimes } from './support/listings.ts';
import { withContext } from './support/context.ts';
import { startNoxus } from './support/noxus.ts';
import { startRedis } from './support/redis.ts';
import {
  FAILED,
  fillWith,
  FULL,
  sampleOf,
  SHORT,
  WORKFLOWS,
  type RunShape,
  writeRun,
} from './support/settled-runs.ts';

/** Watches that are live while the others are settled. */
const LIVE = 1_000;

/** The longest that an answer may take. */
const MOST_MS = 50;

interface ApiOptions {
  /** Watches in the store. */
  count: number;
  profileDir: string | null;
}

/**
 * How long listings take at the API, with very many watches and any filter. Of all watches, 1 % is live,
 * and 10 % have failed, their deliveries dead. Each listing is read page after page.
 */
export async function benchApi({ count, profileDir }: ApiOptions): Promise<BenchResult> {
  return withContext(async (context) => {
    const redis = await startRedis(context);
    const noxus = await startNoxus(context, 1);
    const stores = openStores({ url: redis.socket, prefix: 'runwatch' });
    context.onEnd(async () => stores.close());
    const [full, short, failed] = [
      await sampleOf(stores, FULL),
      await sampleOf(stores, SHORT),
      await sampleOf(stores, FAILED),
    ];
    await redis.flush();
    const mixed = [...Array.from({ length: 3 }, () => [full, short, short]).flat(), failed];
    await fillWith(stores, mixed, count - LIVE);
    for (let at = 0; at < LIVE; at += 1) await writeRun(stores, WAITING, at);
    const daemon = await startDaemon(context, {
      profileDir,
      config: {
        redis: { url: `unix://${redis.socket}` },
        sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
        watches: { retention: '365d' },
        delivery: { keep: 10_000_000 },
        endpoints: { ops: { type: 'log' } },
      },
    });
    while ((await daemon.readyz()) !== 200) await delay(20);
    const times = await listingTimes(daemon, listings());
    await daemon.end();
    return {
      figures: times.slice(0, SHOWN).map(({ path, ms }) => ({
        name: `p95 of ${path}`,
        value: rounded(ms),
        unit: 'ms',
        target: { atMost: MOST_MS },
      })),
      details: { redis: redis.version, times },
    };
  });
}

/** The slowest listings are shown. */
const SHOWN = 8;

/** A run that is not over. */
const WAITING: RunShape = {
  statuses: [
    { status: 'running', progress: 0 },
    { status: 'awaiting_human_feedback', progress: 30 },
  ],
  delivered: ['run.awaiting_human_feedback'],
  polls: 8,
  end: 'none',
};

/** Every filter by itself, such that go together, and such that hardly anything or nothing passes. */
function listings(): string[] {
  const [workflow = '', other = ''] = WORKFLOWS;
  const rare = `metadata.customer=customer-17`;
  const watches = [
    '',
    'state=active',
    'state=finished,gone',
    'status=completed',
    'status=failed,stopped',
    'source=default',
    `workflow_id=${workflow}`,
    `workflow_id=${workflow},${other}&status=failed`,
    'metadata.team=team-3',
    rare,
    `${rare}&metadata.team=team-3&status=failed`,
    'metadata.team=none',
    'since=1h',
    'since=7d&until=5d',
    'until=8d&status=failed',
    `since=2d&workflow_id=${workflow}`,
    'state=active&status=completed',
  ];
  const events = [
    '',
    'order=newest',
    'type=run.completed',
    'type=run.*',
    'type=run.failed,watch.expired&order=newest',
    'type=run.gone',
    `workflow_id=${workflow}`,
    `workflow_id=${workflow}&type=run.failed&since=3d&order=newest`,
    'since=1h',
    'since=7d&until=5d&order=newest',
  ];
  const deliveries = [
    '',
    'state=delivered',
    'state=dead,parked',
    'state=pending',
    'endpoint=ops&state=dead',
    'endpoint=per-watch',
    'since=1h',
    'since=7d&until=5d&state=dead',
  ];
  return [
    '/v1/attention?acknowledged=include',
    ...watches.flatMap((query) => [
      `/v1/watches?limit=200&${query}`,
      `/v1/watches?limit=200&order=changed&${query}`,
    ]),
    ...events.map((query) => `/v1/events?limit=200&${query}`),
    ...deliveries.map((query) => `/v1/deliveries?limit=200&${query}`),
  ];
}
