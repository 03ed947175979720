import { setTimeout as delay } from 'node:timers/promises';
import type { DeliveryQuery, EventQuery, WatchQuery } from '../src/client/types.ts';
import { groupBy } from '../src/core/arrays.ts';
import { newBatch } from '../src/core/batch.ts';
import type { WatchKey } from '../src/core/watch/watch.ts';
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

/** A query of a list, and how much it admits. */
type Asked = readonly [admits: Admits, query: string];

/** Queries by one filter each, of every filter that a list has: the compiler asks for those of another. */
type ByFilter<Query> = Record<
  Exclude<keyof Query, 'limit' | 'cursor'>,
  readonly [Asked, ...Asked[]]
>;

/** The queries of a list. */
interface Queries<Query> {
  alone: ByFilter<Query>;
  /** Of several filters, and of none. */
  together: readonly Asked[];
}

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
    const live = await writeRun(stores, WAITING, 0);
    for (let at = 1; at < LIVE; at += 1) await writeRun(stores, WAITING, at);
    await stores.batches.begin(newBatch('1', { sources: null, name: 'nightly' }, Date.now()), '');
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
    const groups = listings(live);
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

/** Every filter by itself, and such that go together. Each list is read by `after`, or in each `order`, besides. */
function listings({ runId }: WatchKey): Group[] {
  const [workflow = '', other = ''] = WORKFLOWS;
  const customer = `metadata.customer=customer-17`;
  const watches: Queries<Omit<WatchQuery, 'order'>> = {
    alone: {
      state: [
        ['common', 'state=finished,gone'],
        ['rare', 'state=active'],
        ['unmatched', 'state=gone'],
      ],
      status: [
        ['common', 'status=completed'],
        ['common', 'status=failed,stopped'],
      ],
      source: [['common', 'source=default']],
      workflow_id: [['common', `workflow_id=${workflow}`]],
      metadata: [
        ['common', 'metadata.team=team-3'],
        ['rare', customer],
        ['unmatched', 'metadata.team=none'],
      ],
      batch: [['unmatched', 'batch=nightly']],
      since: [['rare', 'since=1h']],
      until: [['common', 'until=8d']],
    },
    together: [
      ['common', ''],
      ['common', 'since=7d&until=5d'],
      ['common', 'until=8d&status=failed'],
      ['rare', `workflow_id=${workflow},${other}&status=failed`],
      ['rare', `${customer}&metadata.team=team-3&status=completed`],
      ['rare', `since=2d&workflow_id=${workflow}`],
      ['unmatched', 'state=active&status=completed'],
      ['unmatched', 'metadata.team=none&status=completed'],
      ['unmatched', `workflow_id=${workflow}&state=gone`],
    ],
  };
  const events: Queries<Omit<EventQuery, 'after'>> = {
    alone: {
      order: [['common', 'order=newest']],
      run_id: [
        ['rare', `run_id=${runId}`],
        ['unmatched', 'run_id=none'],
      ],
      type: [
        ['common', 'type=run.completed'],
        ['common', 'type=run.*'],
        ['unmatched', 'type=run.gone'],
      ],
      workflow_id: [['common', `workflow_id=${workflow}`]],
      since: [['rare', 'since=1h']],
      until: [['common', 'until=8d']],
    },
    together: [
      ['common', ''],
      ['common', 'type=run.failed,watch.expired&order=newest'],
      ['common', 'since=7d&until=5d&order=newest'],
      ['rare', `workflow_id=${workflow}&type=run.failed&since=3d&order=newest`],
      ['unmatched', `workflow_id=${workflow}&type=run.gone`],
    ],
  };
  const deliveries: Queries<DeliveryQuery> = {
    alone: {
      state: [
        ['common', 'state=delivered'],
        ['common', 'state=dead,parked'],
        ['rare', 'state=pending'],
        ['unmatched', 'state=parked'],
      ],
      endpoint: [
        ['common', 'endpoint=ops'],
        ['unmatched', 'endpoint=per-watch'],
      ],
      run_id: [
        ['rare', `run_id=${runId}`],
        ['unmatched', 'run_id=none'],
      ],
      source: [['common', 'source=default']],
      event_id: [['unmatched', 'event_id=evt_none']],
      since: [['rare', 'since=1h']],
      until: [['common', 'until=8d']],
    },
    together: [
      ['common', ''],
      ['common', 'endpoint=ops&state=dead'],
      ['common', 'since=7d&until=5d&state=dead'],
      ['unmatched', 'endpoint=per-watch&state=delivered'],
    ],
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

function groupsOf<Query>(list: string, { alone, together }: Queries<Query>): Group[] {
  const [name = '', ...order] = list.split('&');
  const all = [...Object.values<readonly Asked[]>(alone).flat(), ...together];
  return [...groupBy(all, ([admits]) => admits)].map(([admits, some]) => ({
    name: `${list}, ${admits}`,
    paths: some.map(([, query]) => {
      const given = ['limit=200', ...order, query].filter((part) => part !== '');
      return `/v1/${name}?${given.join('&')}`;
    }),
  }));
}
