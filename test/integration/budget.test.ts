import { afterAll, describe, expect, test } from '@jest/globals';
import type { RateLimit } from '../../src/core/source/rate-limit.ts';
import { SourceLimiter } from '../../src/source/limiter.ts';
import { BudgetStore } from '../../src/redis/stores/source-store.ts';
import { testProcess } from '../support/daemon.ts';
import { closeSource, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { redis, keys, sources } = stores;
const budgets = new BudgetStore(redis, keys);
afterAll(() => stores.close());

const AN_HOUR = 3_600_000;
let names = 0;

/** The limiter of a new source, or of one more process for a source, on a stopped clock. */
function openBudget(limit: RateLimit, source = `source-${(names += 1)}`) {
  const clock = { ms: 0 };
  const process = testProcess({
    stores: { budgets },
    monotonic: () => clock.ms,
    newToken: () => `request-${(names += 1)}`,
  });
  return Object.assign(new SourceLimiter(process, source, limit), { source, clock });
}

describe('rate limiter of a source', () => {
  test('the rate limiter permits as many requests as the limit, over all processes', async () => {
    const first = openBudget({ requests: 3, perMs: 1_000 });
    const second = openBudget({ requests: 3, perMs: 1_000 }, first.source);
    const claims = [first, second, first, second, first].map((budget) => budget.claim());
    expect((await Promise.all(claims)).filter((permit) => permit !== null)).toHaveLength(3);
    expect(await openBudget({ requests: 3, perMs: 1_000 }).claim()).not.toBeNull();
  });

  test('a permit is free again one period after the answer', async () => {
    const budget = openBudget({ requests: 1, perMs: 400 });
    const permit = await budget.claim();
    const answeredAt = Date.now();
    permit?.settle();
    await waitFor(async () => (await budget.claim()) !== null);
    expect(Date.now() - answeredAt).toBeGreaterThanOrEqual(400);
  });

  test('at a slow source a request counts from its arrival', async () => {
    const budget = openBudget({ requests: 1, perMs: 200 });
    const follow = () => budget.arrivalOf({ token: 'slow', count: 1, ageMs: () => 0 });
    for (let turn = 0; turn < 10; turn += 1) {
      const { sent, over } = follow();
      sent();
      budget.clock.ms += 1_000;
      over();
    }
    await budgets.admit(budget.source, { request: 'slow', limit: budget.limit });
    const countsUntil = async () => Number(await redis.zscore(keys.budget(budget.source), 'slow'));
    // As one that arrives long before it would have to, however busy the machine.
    const before = Date.now() + AN_HOUR;
    await redis.zadd(keys.budget(budget.source), before, 'slow');
    const sentAt = Date.now();
    follow().sent();
    await waitFor(async () => (await countsUntil()) < before);
    expect(await countsUntil()).toBeGreaterThanOrEqual(sentAt + 200);
  });

  test('a paused source gets no permit except one for a probe', async () => {
    const budget = openBudget({ requests: 1, perMs: AN_HOUR });
    const until = Date.now() + 200;
    await closeSource(sources, budget.source, until);
    expect(await budget.claim()).toBeNull();
    // Then one request probes the source, and no other before its answer.
    await waitFor(async () => (await budget.claim(60_000)) !== null);
    expect(Date.now()).toBeGreaterThanOrEqual(until);
    expect(await budget.claim(60_000)).toBeNull();
  });

  test('the rate limiter works after the clock of Redis was set back by hours', async () => {
    const budget = openBudget({ requests: 1, perMs: 1_000 });
    await redis.zadd(keys.budget(budget.source), Date.now() + AN_HOUR, 'before the clock was set');
    expect(await budget.claim()).not.toBeNull();
  });

  test('the cost multiplier grows with the lag of polls, and shrinks again', async () => {
    const budget = openBudget({ requests: 10, perMs: 1_000 });
    budget.watched(20);
    expect(budget.load()).toMatchObject({ roundMs: 2_000, costMultiplier: 1, rounds: 5 });
    for (let poll = 0; poll < 10; poll += 1) budget.began(5_000);
    const { costMultiplier } = budget.load();
    expect(costMultiplier).toBeGreaterThan(1.2);
    budget.began(10);
    expect(budget.load().costMultiplier).toBeLessThan(costMultiplier);
  });

  test('a permit covers a request that is sent a moment after its claim', () => {
    const budget = openBudget({ requests: 2, perMs: 1_000 });
    const permit = (ageMs: number, count = 1) => ({ token: 'a', count, ageMs: () => ageMs });
    expect(budget.covers(permit(250))).toBe(true);
    expect(budget.covers(permit(800))).toBe(false);
    const ample = openBudget({ requests: 10, perMs: 1_000 });
    expect(ample.covers(permit(800))).toBe(true);
  });

  test('a permit of a busy process is renewed, so that its late request counts as long as any', async () => {
    const budget = openBudget({ requests: 1, perMs: AN_HOUR });
    await budgets.admit(budget.source, { request: 'late', limit: budget.limit });
    const countsUntil = async () => Number(await redis.zscore(keys.budget(budget.source), 'late'));
    await redis.zincrby(keys.budget(budget.source), -60_000, 'late');
    const before = await countsUntil();
    expect(budget.covers({ token: 'late', count: 1, ageMs: () => 60_000 })).toBe(true);
    await waitFor(async () => (await countsUntil()) >= before + 60_000);
  });
});
