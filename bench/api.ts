import { setTimeout as delay } from 'node:timers/promises';
import { openStores } from '../test/support/stores.ts';
import { startDaemon } from './support/daemon.ts';
import { rounded, type BenchResult, type Figure } from './support/figures.ts';
import { listingTimes, type ListingTime } from './support/listings.ts';
import { withContext } from './support/context.ts';
import { startNoxus } from './support/noxus.ts';
import { startRedis } from './support/redis.ts';
import { noteBlocks } from './support/slow-log.ts';
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

/** The longest that a command may block Redis. */
const MOST_BLOCKED_MS = 5;

/** How much of the store a filter admits: a good part of it, hardly anything, or nothing. */
type Admits = 'common' | 'rare' | 'unmatched';

/** The queries of a list, by how much they admit. */
type Queries = Record<Admits, string[]>;

interface ApiOptions {
  /** Watches in the store. */
  count: number;
  profileDir: string | null;
}

/**
 * How long listings take at the API, with very many watches and any filter. Of all watches, 1 % is live,
 * and 10 % have failed, their deliveries dead. Each listing is read page after page; of those that admit about
 * as much, the slowest is shown.
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
    const blocks = await noteBlocks(context, redis);
    const groups = listings();
    const times = await listingTimes(
      daemon,
      groups.flatMap(({ paths }) => paths),
    );
    const { longestMs, slow } = await blocks();
    await daemon.end();
    return {
      figures: [
        ...groups.map((group) => slowestOf(group, times)),
        {
          name: 'longest block of Redis meanwhile',
          value: rounded(longestMs),
          unit: 'ms',
          target: { atMost: MOST_BLOCKED_MS },
        },
      ],
      details: { redis: redis.version, times, slow },
    };
  });
}

/** Listings of one kind that admit about as much. */
interface Group {
  name: string;
  paths: string[];
}

function slowestOf({ name, paths }: Group, times: readonly ListingTime[]): Figure {
  const slowest = times.find(({ path }) => paths.includes(path));
  return {
    name: `${name}: p95 of ${slowest?.path}`,
    value: rounded(slowest?.ms ?? NaN),
    unit: 'ms',
    target: { atMost: MOST_MS },
  };
}

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

/** Every filter by itself, and such that go together. */
function listings(): Group[] {
  const [workflow = '', other = ''] = WORKFLOWS;
  const customer = `metadata.customer=customer-17`;
  const watches: Queries = {
    common: [
      '',
      'state=finished,gone',
      'status=completed',
      'status=failed,stopped',
      'source=default',
      `workflow_id=${workflow}`,
      'metadata.team=team-3',
      'since=7d&until=5d',
      'until=8d&status=failed',
    ],
    rare: [
      'state=active',
      `workflow_id=${workflow},${other}&status=failed`,
      customer,
      `${customer}&metadata.team=team-3&status=completed`,
      'since=1h',
      `since=2d&workflow_id=${workflow}`,
    ],
    unmatched: [
      'state=gone',
      'state=active&status=completed',
      'metadata.team=none',
      'metadata.team=none&status=completed',
      `workflow_id=${workflow}&state=gone`,
    ],
  };
  const events: Queries = {
    common: [
      '',
      'order=newest',
      'type=run.completed',
      'type=run.*',
      'type=run.failed,watch.expired&order=newest',
      `workflow_id=${workflow}`,
      'since=7d&until=5d&order=newest',
    ],
    rare: [`workflow_id=${workflow}&type=run.failed&since=3d&order=newest`, 'since=1h'],
    unmatched: ['type=run.gone', `workflow_id=${workflow}&type=run.gone`],
  };
  const deliveries: Queries = {
    common: [
      '',
      'state=delivered',
      'state=dead,parked',
      'endpoint=ops&state=dead',
      'since=7d&until=5d&state=dead',
    ],
    rare: ['state=pending', 'since=1h'],
    unmatched: ['state=parked', 'endpoint=per-watch', 'endpoint=per-watch&state=delivered'],
  };
  return [
    ...groupsOf('watches', watches),
    ...groupsOf('watches&order=changed', watches),
    ...groupsOf('events', events),
    ...groupsOf('deliveries', deliveries),
    { name: 'attention', paths: ['/v1/attention?acknowledged=include'] },
    { name: 'workflows', paths: ['/v1/workflows?since=30d', '/v1/polling?limit=200'] },
  ];
}

function groupsOf(list: string, queries: Queries): Group[] {
  const [name = '', ...order] = list.split('&');
  return Object.entries(queries).map(([admits, some]) => ({
    name: `${list}, ${admits}`,
    paths: some.map((query) => {
      const given = ['limit=200', ...order, query].filter((part) => part !== '');
      return `/v1/${name}?${given.join('&')}`;
    }),
  }));
}
