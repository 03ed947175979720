import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  DELIVERY_STATES,
  planDeliveries,
  type DeliveryFilter,
} from '../../src/core/delivery/delivery.ts';
import { isOfRun, EVENT_TYPES, isoTime, type EventFilter } from '../../src/core/event/event.ts';
import type { Complete } from '../../src/core/records.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { WATCH_STATES, type Watch } from '../../src/core/watch/watch.ts';
import { WatchListing, type StoredFilter } from '../../src/redis/stores/watch-listing.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, watches, events, deliveries } = stores;
afterAll(() => stores.close());
beforeEach(async () => void (await redis.del(...(await stores.keysLeft()), 'none')));

const STATUSES = ['queued', 'running', 'failed', 'completed'];
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Watches as they are stored, in the order of their registration. */
const someWatches = fc.array(
  fc.record({
    state: fc.constantFrom(...WATCH_STATES),
    status: fc.constantFrom(null, ...STATUSES),
    source: fc.constantFrom('default', 'eu'),
    workflow: fc.constantFrom('invoices', 'payroll', 'rare'),
    team: fc.constantFrom('ml', 'ops'),
    changedAt: fc.oneof(
      fc.integer({ min: NOON - 3 * DAY, max: NOON }),
      fc.constantFrom(NOON - DAY, NOON - 2 * HOUR, NOON),
    ),
  }),
  { maxLength: 25 },
);

const someOf = <Value extends string>(values: readonly Value[]) =>
  fc.option(fc.subarray([...values], { minLength: 1 }), { nil: undefined });

/** Every second watch is in the first, every second two in the other. */
const BATCHES = ['bat_1', 'bat_2'];

const timeRange = {
  since: fc.option(
    fc.constantFrom(
      NOON - 2 * DAY,
      NOON - 36 * HOUR,
      NOON - DAY,
      NOON - 12 * HOUR,
      NOON - 2 * HOUR,
    ),
    { nil: undefined },
  ),
  until: fc.option(fc.constantFrom(NOON - DAY, NOON - 12 * HOUR, NOON - HOUR, NOON), {
    nil: undefined,
  }),
};

/** Any value of each filter, or none: the compiler asks for one that is missing. */
type AnyOf<Filter> = { [Name in keyof Required<Filter>]: fc.Arbitrary<Filter[Name]> };

const watchFilter = fc.record({
  state: someOf(WATCH_STATES),
  status: someOf(STATUSES),
  sources: someOf<string>(['default', 'eu']),
  workflowId: someOf<string>(['invoices', 'payroll', 'rare']),
  metadata: fc.constantFrom({ team: 'ml' }, { team: 'ml', tier: 'gold' }, { team: 'x' }, undefined),
  batch: fc.constantFrom(...BATCHES, undefined),
  ...timeRange,
} satisfies AnyOf<Omit<StoredFilter, 'need'>>);

/** More watches that changed in one moment than are examined for a page. */
const atOneTime = Array.from({ length: 9 }, () => ({
  state: 'active' as const,
  source: 'default' as const,
  status: null,
  workflow: 'invoices' as const,
  team: 'ml' as const,
  changedAt: NOON,
}));

type WatchFilter = typeof watchFilter extends fc.Arbitrary<infer Filter> ? Partial<Filter> : never;

/** Most watches pass it. */
const timesAndSource = watchFilter.map(({ sources, since, until }): WatchFilter => ({
  sources,
  since,
  until,
}));

/** Filters without those fields that are not given. */
function given<Filter extends object>(filter: Filter) {
  const entries = Object.entries(filter).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as {
    [Name in keyof Filter]: Exclude<Filter[Name], undefined>;
  };
}

function isListed(watch: Watch, filter: WatchFilter): boolean {
  const {
    state,
    status,
    sources,
    workflowId,
    batch,
    metadata = {},
    since,
    until,
    ...rest
  } = filter;
  rest satisfies Record<string, never>;
  const { run } = watch;
  return (
    (state === undefined || state.includes(watch.state)) &&
    (status === undefined || status.includes(run?.status ?? '')) &&
    (sources === undefined || sources.includes(watch.source)) &&
    (workflowId === undefined || workflowId.includes(run?.workflow_id ?? '')) &&
    (batch === undefined || watch.batches.includes(batch)) &&
    Object.entries(metadata).every(([key, value]) => watch.metadata[key] === value) &&
    watch.changedAt >= (since ?? -Infinity) &&
    watch.changedAt < (until ?? Infinity)
  );
}

async function everyPage<Item>(
  read: (cursor?: string) => Promise<{ items: Item[]; nextCursor: string | null; total?: number }>,
) {
  const items: Item[] = [];
  const totals = new Set<number | undefined>();
  const cursors = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await read(cursor);
    items.push(...page.items);
    totals.add(page.total);
    cursor = page.nextCursor ?? undefined;
    if (cursor !== undefined && cursors.has(cursor)) throw new Error('a page comes again');
    cursors.add(cursor ?? '');
  } while (cursor !== undefined);
  return { items, totals: [...totals] };
}

const idOf = ({ source, runId }: { source: string; runId: string }) => `${source}/${runId}`;

async function storeAll(told: typeof someWatches extends fc.Arbitrary<infer All> ? All : never) {
  const stored: Watch[] = [];
  for (const [at, one] of told.entries()) {
    const runId = `run-${at}`;
    const { state, source, changedAt, status, workflow, team } = one;
    const batches = BATCHES.filter((_, index) => (at >> index) % 2 === 1);
    const run = status === null ? null : snapshot({ id: runId, status, workflow_id: workflow });
    const metadata = { team, ...(at % 2 === 0 && { tier: 'gold' }) };
    const after = newWatch({ runId, state, source, changedAt, run, metadata, batches });
    await watches.commit({ before: null, after, events: [], deliveries: [] });
    stored.push(after);
  }
  return stored;
}

describe('the listing of watches', () => {
  test('the list of watches has what a filter admits, in both orders, whatever the size of a page', async () => {
    await fc.assert(
      fc.asyncProperty(
        someWatches,
        fc.array(fc.tuple(watchFilter, fc.integer({ min: 1, max: 7 })), {
          minLength: 1,
          maxLength: 8,
        }),
        async (told, filters) => {
          await redis.del(...(await stores.keysLeft()), 'none');
          const all = await storeAll(told);
          for (const [filter, limit] of filters) {
            const admitted = all.filter((watch) => isListed(watch, filter)).toReversed();
            for (const order of ['registered', 'changed'] as const) {
              const read = await everyPage((cursor) =>
                watches.list(given(filter), { limit, cursor, order }),
              );
              const ids = read.items.map(idOf);
              expect(read.totals).toEqual([admitted.length]);
              if (order === 'registered') expect(ids).toEqual(admitted.map(idOf));
              expect(new Set(ids)).toEqual(new Set(admitted.map(idOf)));
              const times = read.items.map(({ changedAt }) => changedAt);
              if (order === 'changed') expect(times).toEqual(times.toSorted((a, b) => b - a));
            }
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test('the list of watches is complete where more match than are counted, perhaps on more pages', async () => {
    const counts = fc.constantFrom(3, 9, 30);
    const filters: fc.Arbitrary<WatchFilter> = fc.oneof(watchFilter, timesAndSource);
    await fc.assert(
      fc.asyncProperty(someWatches, filters, counts, async (told, filter, counted) => {
        const listing = new WatchListing(redis, keys, { counted, atOnce: 2, examined: 4 });
        await redis.del(...(await stores.keysLeft()), 'none');
        const all = await storeAll(told);
        const admitted = all.flatMap((watch, at) => (isListed(watch, filter) ? [at + 1] : []));
        for (const order of ['registered', 'changed'] as const) {
          const read = await everyPage(async (cursor) => {
            const page = await listing.find(given(filter), { limit: 2, cursor, order });
            if (!page.isCapped) expect(page.total).toBe(admitted.length);
            expect(page.total).toBeLessThanOrEqual(admitted.length);
            return { items: page.numbers, nextCursor: page.nextCursor };
          });
          if (order === 'registered') expect(read.items).toEqual(admitted.toReversed());
          expect(read.items.toSorted((a, b) => a - b)).toEqual(admitted);
          const times = read.items.map((number) => all[number - 1]!.changedAt);
          if (order === 'changed') expect(times).toEqual(times.toSorted((a, b) => b - a));
        }
      }),
      { numRuns: 40, examples: [[atOneTime, {}, 3]] },
    );
  });

  test('where more watches need a person than are counted, those that changed before a time are not listed', async () => {
    const listing = new WatchListing(redis, keys, { counted: 3, atOnce: 2, examined: 8 });
    for (let at = 1; at <= 6; at += 1) {
      const runId = `run-${at}`;
      const run = snapshot({ id: runId, status: 'awaiting_human_feedback' });
      const after = newWatch({ runId, run, changedAt: NOON + at * DAY });
      await watches.commit({ before: null, after, events: [], deliveries: [] });
    }
    const oldest = (since: number) => listing.oldest({ need: 'awaiting', since }, 3);
    expect(await oldest(NOON)).toEqual({ numbers: [1, 2, 3], total: 3, isCapped: true });
    expect((await oldest(NOON + 3 * DAY)).numbers).toEqual([3, 4, 5]);
  });

  test('the list of watches follows a watch that changes, and one that is registered anew', async () => {
    const first = newWatch({ changedAt: NOON, metadata: { team: 'ml' } });
    await watches.commit({ before: null, after: first, events: [], deliveries: [] });
    const other = newWatch({ runId: 'other', changedAt: NOON + 1, metadata: { team: 'ops' } });
    await watches.commit({ before: null, after: other, events: [], deliveries: [] });
    const listed = async (filter: object) => {
      const { items } = await watches.list(filter, { limit: 9, order: 'changed' });
      return items.map(({ runId }) => runId);
    };
    expect(await listed({})).toEqual(['other', first.runId]);

    const later = { ...first, changedAt: NOON + 2 * DAY, metadata: { team: 'ops' } };
    const before = (await watches.get(first))!;
    await watches.commit({ before, after: later, events: [], deliveries: [] });
    expect(await listed({})).toEqual([first.runId, 'other']);
    expect(await listed({ metadata: { team: 'ml' } })).toEqual([]);
    expect(await listed({ since: NOON + DAY })).toEqual([first.runId]);
    expect(await listed({ until: NOON + DAY })).toEqual(['other']);

    const anew = { ...first, registeredAt: NOON + 3 * DAY, changedAt: NOON + 3 * DAY };
    const stored = (await watches.get(first))!;
    await watches.commit({ before: stored, after: anew, events: [], deliveries: [] });
    expect(await listed({})).toEqual([first.runId, 'other']);
    expect(await redis.zcard(keys.watchesChanged)).toBe(2);
  });

  test('the list of watches refuses the cursor of another order', async () => {
    for (const runId of ['a', 'b']) {
      await watches.commit({
        before: null,
        after: newWatch({ runId }),
        events: [],
        deliveries: [],
      });
    }
    const { nextCursor } = await watches.list({}, { limit: 1, order: 'changed' });
    const other = watches.list({}, { limit: 1, cursor: nextCursor! });
    await expect(other).rejects.toMatchObject({ code: 'invalid_cursor' });
  });
});

const part = fc.record({
  runs: fc.array(
    fc.record({
      workflow: fc.constantFrom('invoices', 'payroll'),
      source: fc.constantFrom('default', 'eu'),
      status: fc.constantFrom('running', 'failed', 'completed'),
      gapMs: fc.integer({ min: 0, max: 2 * HOUR }),
      endedAgoMs: fc.constantFrom(0, HOUR, 3 * DAY),
    }),
    { maxLength: 30 },
  ),
  since: fc.option(fc.integer({ min: 0, max: 30 * HOUR }), { nil: undefined }),
  until: fc.option(fc.integer({ min: 0, max: 30 * HOUR }), { nil: undefined }),
  type: someOf(EVENT_TYPES),
  workflowId: someOf<string>(['invoices', 'payroll']),
  sources: someOf<string>(['default', 'eu']),
  runId: fc.option(fc.constantFrom('run-0', 'run-3'), { nil: undefined }),
  state: someOf(DELIVERY_STATES),
  endpoint: fc.option(fc.constantFrom('ops', 'none'), { nil: undefined }),
  /** The event of a delivery, by the place of that. */
  ofEvent: fc.option(fc.nat({ max: 30 }), { nil: undefined }),
  limit: fc.integer({ min: 1, max: 7 }),
});

test('since and until of events go by when a change was detected, not by finished_at', async () => {
  const first = newWatch({ runId: 'ended-long-ago' });
  await watches.commit({ before: null, after: first, events: [], deliveries: [] });
  const before = (await watches.get(first))!;
  const run = snapshot({ id: first.runId, status: 'failed', finished_at: isoTime(NOON - 3 * DAY) });
  const seen = observe(before.watch, { kind: 'run', run }, observeContext(NOON));
  await watches.commit({ before, after: seen.watch, events: seen.events, deliveries: [] });
  for (const filter of [{}, { runs: [first] }]) {
    const typesOf = async (times: { since?: number; until?: number }) => {
      const { items } = await events.list({ ...filter, ...times }, { limit: 10 });
      return items.map(({ event }) => event.type);
    };
    expect(await typesOf({ since: NOON - HOUR })).toEqual(['run.failed']);
    expect(await typesOf({ until: NOON - HOUR })).toEqual([]);
  }
});

/** A run of each source by one id. */
const runsOf = (runId: string | undefined) =>
  runId === undefined ? undefined : ['default', 'eu'].map((source) => ({ source, runId }));

test('the lists of events and deliveries have what filters and times admit, in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      part,
      async ({ runs, since, until, state, endpoint, ofEvent, limit, ...both }) => {
        const { type, workflowId, sources, runId } = both;
        await redis.del(...(await stores.keysLeft()), 'none');
        let now = NOON;
        for (const [at, one] of runs.entries()) {
          const { workflow, source, status, gapMs, endedAgoMs } = one;
          now += gapMs;
          const first = newWatch({
            runId: `run-${at}`,
            source,
            subscriptions: [{ kind: 'endpoint', endpoint: 'ops' }],
          });
          await watches.commit({ before: null, after: first, events: [], deliveries: [] });
          const before = (await watches.get(first))!;
          const finished_at = status === 'running' ? null : isoTime(now - endedAgoMs);
          const run = snapshot({ id: first.runId, status, workflow_id: workflow, finished_at });
          const seen = observe(before.watch, { kind: 'run', run }, observeContext(now));
          const planned = planDeliveries(seen.watch, seen.events, first.subscriptions, {
            wants: () => true,
            now,
          });
          await watches.commit({
            before,
            after: seen.watch,
            events: seen.events,
            deliveries: planned,
          });
        }
        const range = given({
          since: since === undefined ? undefined : NOON + since,
          until: until === undefined ? undefined : NOON + until,
        });
        const isWithin = (at: number) =>
          at >= (range.since ?? -Infinity) && at < (range.until ?? Infinity);
        const all = await everyPage((after) =>
          events.list({ ...(after && { after }) }, { limit: 7 }),
        );
        const admitted = all.items
          .map(({ event }) => event)
          .filter(isOfRun)
          .filter((event) => type === undefined || type.includes(event.type))
          .filter(
            ({ data }) =>
              workflowId === undefined || workflowId.includes(data.run?.workflow_id ?? ''),
          )
          .filter(({ data }) => sources === undefined || sources.includes(data.watch.source))
          .filter(({ data }) => runId === undefined || data.run_id === runId)
          .filter(({ data }) => isWithin(Date.parse(data.detected_at)));
        for (const order of ['oldest', 'newest'] as const) {
          const filter = { type, workflowId, sources, runs: runsOf(runId) };
          const read = await everyPage((after) => {
            const page = { ...filter, after } satisfies Complete<EventFilter>;
            return events.list({ ...given(page), ...range }, { limit, order });
          });
          const ids = admitted.map(({ id }) => id);
          expect(read.items.map(({ event }) => event.id)).toEqual(
            order === 'oldest' ? ids : ids.toReversed(),
          );
        }
        const everyDelivery = await everyPage((cursor) =>
          deliveries.list({}, { limit: 7, cursor }),
        );
        const eventId = ofEvent === undefined ? undefined : everyDelivery.items[ofEvent]?.eventId;
        const filter = { state, endpoint, sources, runs: runsOf(runId), eventId };
        filter satisfies Complete<DeliveryFilter>;
        const meant = everyDelivery.items
          .filter((one) => state === undefined || state.includes(one.state))
          .filter((one) => endpoint === undefined || one.endpoint === endpoint)
          .filter((one) => runId === undefined || one.runId === runId)
          .filter((one) => eventId === undefined || one.eventId === eventId)
          .filter(({ source }) => sources === undefined || sources.includes(source))
          .filter(({ createdAt }) => isWithin(createdAt));
        const read = await everyPage((cursor) =>
          deliveries.list({ ...given(filter), ...range }, { limit, cursor }),
        );
        expect(read.items.map(({ id }) => id)).toEqual(meant.map(({ id }) => id));
        expect(read.totals).toEqual([meant.length]);
      },
    ),
    { numRuns: 15 },
  );
});
