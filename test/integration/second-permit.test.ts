import { afterAll, expect, test } from '@jest/globals';
import { pageMember } from '../../src/core/feed/page-name.ts';
import type { RateLimit } from '../../src/core/source/rate-limit.ts';
import { BudgetStore } from '../../src/redis/stores/source-store.ts';
import { SourceLimiter } from '../../src/source/limiter.ts';
import { testProcess } from '../support/daemon.ts';
import { closeSource, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { redis, keys, sources } = stores;
const budgets = new BudgetStore(redis, keys);
afterAll(() => stores.close());

const AN_HOUR = 3_600_000;
const TIMEOUT_MS = 60_000;
let names = 0;

/** The limiter of a new source of which reads may take a second request, on a stopped clock. */
function openLimiter(limit: RateLimit) {
  const source = `source-${(names += 1)}`;
  const process = testProcess({
    stores: { budgets },
    monotonic: () => 0,
    newToken: () => `request-${(names += 1)}`,
  });
  const limiter = new SourceLimiter(process, source, limit, TIMEOUT_MS);
  const counting = () => redis.zcount(keys.budget(source), Date.now(), '+inf');
  return Object.assign(limiter, { source, counting });
}

test('a read takes two permits or none', async () => {
  const limiter = openLimiter({ requests: 3, perMs: 1_000 });
  const claims = [limiter.claimRead(), limiter.claimRead(), limiter.claim(), limiter.claim()];
  const given = (await Promise.all(claims)).map((permit) => permit !== null);
  // One request alone still goes.
  expect(given).toEqual([true, false, true, false]);
  expect(await redis.zcard(keys.budget(limiter.source))).toBe(3);
});

test('a second permit that is not used is given back, with its place in the pace', async () => {
  const limiter = openLimiter({ requests: 4, perMs: AN_HOUR });
  const read = await limiter.claimRead();
  const nextAt = async () => Number(await redis.get(keys.pace(limiter.source)));
  const before = await nextAt();
  read?.second.end();
  await waitFor(async () => (await limiter.counting()) === 1);
  expect(Math.round(before - (await nextAt()))).toBe(AN_HOUR / 4);
});

test('a second permit that is used counts for a period from its answer', async () => {
  const limiter = openLimiter({ requests: 2, perMs: 300 });
  const read = await limiter.claimRead();
  read?.second.use();
  // The first is free soon; the second is held for as long as the first request may take.
  await waitFor(async () => (await limiter.counting()) === 1);
  const answeredAt = Date.now();
  read?.second.end();
  await waitFor(async () => (await limiter.counting()) === 0);
  expect(Date.now() - answeredAt).toBeGreaterThanOrEqual(300);
});

test('reads of two requests keep to the pace of a long period', async () => {
  const limiter = openLimiter({ requests: 60, perMs: AN_HOUR });
  expect(await limiter.claimRead()).not.toBeNull();
  expect(await limiter.claimRead()).toBeNull();
  expect(await limiter.claim()).toBeNull();
});

test('a source that has just answered again is read, however low its limit', async () => {
  const limiter = openLimiter({ requests: 4, perMs: 1_000 });
  await redis.set(keys.sourceAdmission(limiter.source).open, Date.now());
  expect(await limiter.claimRead()).not.toBeNull();
});

test('a limit that is too low for a read of two requests is held until a restart', async () => {
  const limiter = openLimiter({ requests: 4, perMs: 1_000 });
  expect(limiter.change({ requests: 1, perMs: 1_000 })).toBe('held');
  const member = pageMember({ workflowId: null, page: 1 });
  await stores.requests.enterMissing(limiter.source, 'list', [member]);
  const { claimed } = await stores.requests.claim(limiter.source, {
    token: 'p.1',
    most: 1,
    limit: limiter.limit,
    secondHoldMs: limiter.secondHoldMs,
    leaseMs: TIMEOUT_MS,
    roundMs: 0,
  });
  expect(claimed).toMatchObject([{ member, count: 2 }]);
});

test('a closed source gives no permits to a read', async () => {
  const limiter = openLimiter({ requests: 4, perMs: 1_000 });
  await closeSource(sources, limiter.source, Date.now() + AN_HOUR);
  expect(await limiter.claimRead()).toBeNull();
  expect(await limiter.counting()).toBe(0);
});
