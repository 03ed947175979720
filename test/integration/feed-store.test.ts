import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { StoredWatch } from '../../src/redis/watch-change.ts';
import { newWatch, snapshot } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const SOURCE = 'default';
const QUIET = { source: SOURCE, workflowId: 'quiet' };
const BUSY = { source: SOURCE, workflowId: 'busy' };

const SOON_MS = 60_000;

let stores: ReturnType<typeof openStores>;

beforeEach(() => {
  stores = openStores();
});

afterEach(() => stores.close());

const PLAN = {
  at: 1,
  watches: 1,
  costMultiplier: 1,
  leastPageMs: 1,
  wantedPerMs: 0,
  reads: { runs: 0, usualMs: null, longestMs: 1, stretched: 0 },
  lists: [],
};

const markAt = (at: number) => ({
  page: 1,
  newest: at,
  oldest: at,
  runs: 1,
  isLast: true,
  at,
  bytes: 100,
});

test('what is known of a list that is read no more expires, however busy its source is', async () => {
  const { feeds, redis } = stores;
  await feeds.putTrust(QUIET, { failures: 1, since: 1, isThrottled: false });
  await feeds.putSize(QUIET, 10);
  const written = await stores.keysLeft();
  for (const key of written) {
    expect(await redis.pttl(key)).toBeGreaterThan(SOON_MS);
    await redis.pexpire(key, SOON_MS);
  }

  const hint = {
    madeAt: 1,
    listed: { status: 'running', progress: 1 },
    workflowId: 'busy',
    createdAt: null,
    known: null,
  };
  const page = { mark: markAt(2), hints: [{ runId: 'run', hint }], judged: [] };
  await feeds.putPage(BUSY, { ...page, checkedAt: 2, trust: null });
  await feeds.putPlan(SOURCE, PLAN, { lists: [], hinted: [] });
  for (const key of written) expect(await redis.pttl(key)).toBeLessThanOrEqual(SOON_MS);
});

test.each([
  ['with', false, { team: 'ml' }],
  ['without', true, {}],
])('plans and pages read watches %s their metadata', async (_, isBare, metadata) => {
  const { feeds, watches } = stores;
  const after = newWatch({ run: snapshot(), metadata: { team: 'ml' } });
  await watches.commit({ before: null, after, events: [], deliveries: [] });
  const planned: StoredWatch[] = [];
  for await (const chunk of feeds.active(SOURCE, isBare)) planned.push(...chunk);
  const page = await feeds.pageRecord(BUSY, [after.runId], isBare);
  expect(planned).toMatchObject([{ watch: { runId: after.runId, run: after.run, metadata } }]);
  expect(page.watches).toMatchObject([{ watch: { runId: after.runId, run: after.run, metadata } }]);
});

test('the marks of pages are read as they were written, also those of a version that noted more', async () => {
  const { feeds, redis, keys } = stores;
  const trace = { hints: [], judged: [], checkedAt: null, trust: null };
  await feeds.putPage(BUSY, { ...trace, mark: markAt(5) });
  const older = { ...markAt(7), page: 2, head: 3 };
  await redis.hset(keys.list(BUSY), 'mark2', JSON.stringify(older));
  const [known] = await feeds.read([BUSY], 0);
  expect(known?.marks).toEqual(expect.arrayContaining([markAt(5), older]));
});
