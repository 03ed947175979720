import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { RateLimit } from '../../src/core/source/rate-limit.ts';
import { BudgetStore } from '../../src/redis/stores/source-store.ts';
import { newWatch } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores(undefined, { isClockManual: true });
const { redis, keys, requests, watches } = stores;
const budgets = new BudgetStore(redis, keys);
afterAll(() => stores.close());

const A_MINUTE = 60_000;
const AN_HOUR = 3_600_000;

let names = 0;

/** A source without any request so far, on a clock that the test moves. */
function newSource() {
  const source = `source-${(names += 1)}`;
  let now = 1_000_000;
  return {
    source,
    at: () => now,
    async pass(ms: number): Promise<void> {
      now += ms;
      await redis.set(keys.clock, now);
    },
    /** @returns the name of the request, or null if there is no permit now */
    async admit(limit: RateLimit): Promise<string | null> {
      const request = `request-${(names += 1)}`;
      const permit = await budgets.admit(source, { request, limit });
      return permit === null ? null : request;
    },
  };
}

/** The most of these times that lie in a window of this length. */
function mostWithin(times: readonly number[], ms: number): number {
  return Math.max(
    ...times.map((from) => times.filter((at) => at >= from && at < from + ms).length),
  );
}

describe('pace of a rate limit with a period of more than a second', () => {
  test('the requests of a minute are spread over it', async () => {
    const { at, pass, admit } = newSource();
    const limit = { requests: 60, perMs: A_MINUTE };
    const times: number[] = [];
    for (let step = 0; step < 1_200; step += 1) {
      await pass(100);
      if ((await admit(limit)) !== null) times.push(at());
    }
    expect(mostWithin(times, 10_000)).toBe(10);
    expect(mostWithin(times, A_MINUTE)).toBe(60);
    expect(times.length).toBeGreaterThanOrEqual(115);
  });

  test('after a silence as many requests come at once as one second is worth', async () => {
    const { pass, admit } = newSource();
    const limit = { requests: 600, perMs: A_MINUTE };
    await pass(AN_HOUR);
    for (let request = 0; request < 10; request += 1) expect(await admit(limit)).not.toBeNull();
    expect(await admit(limit)).toBeNull();
    await pass(100);
    expect(await admit(limit)).not.toBeNull();
    expect(await admit(limit)).toBeNull();
  });

  test('whatever the limit and the times, neither the window nor the pace is exceeded', async () => {
    const limits = fc.record({
      requests: fc.integer({ min: 1, max: 40 }),
      perMs: fc.integer({ min: 1_001, max: 20_000 }),
    });
    const steps = fc.array(fc.integer({ min: 0, max: 1_500 }), { minLength: 20, maxLength: 80 });
    await fc.assert(
      fc.asyncProperty(limits, steps, async (limit, given) => {
        const { at, pass, admit } = newSource();
        const times: number[] = [];
        for (const ms of given) {
          await pass(ms);
          if ((await admit(limit)) !== null) times.push(at());
        }
        const spacingMs = limit.perMs / limit.requests;
        const burst = Math.max(1, Math.floor(1_000 / spacingMs));
        expect(mostWithin(times, limit.perMs)).toBeLessThanOrEqual(limit.requests);
        times.forEach((from, first) => {
          times.slice(first).forEach((to, further) => {
            // Redis rounds to thousandths of a millisecond.
            expect(further + 1).toBeLessThanOrEqual(burst + (to - from + 1) / spacingMs);
          });
        });
      }),
      { numRuns: 60 },
    );
  });

  test('a permit that is given back leaves its place in the pace to another request', async () => {
    const { source, pass, admit } = newSource();
    const limit = { requests: 1, perMs: AN_HOUR };
    await pass(1);
    const request = await admit(limit);
    expect(await admit(limit)).toBeNull();
    if (request === null) throw new Error('the first request has no permit');
    await budgets.giveBack(source, { request, limit });
    expect(await admit(limit)).not.toBeNull();
    // Not a second time: its permit is not there any more.
    await budgets.giveBack(source, { request, limit });
    expect(await admit(limit)).toBeNull();
  });

  test('a limit that was raised is used at once', async () => {
    const { pass, admit } = newSource();
    await pass(1);
    expect(await admit({ requests: 1, perMs: AN_HOUR })).not.toBeNull();
    expect(await admit({ requests: 3_600, perMs: AN_HOUR })).not.toBeNull();
    expect(await admit({ requests: 3_600, perMs: AN_HOUR })).toBeNull();
  });

  test('a pace from before the clock was set back holds nothing up', async () => {
    const { source, at, pass, admit } = newSource();
    await pass(1);
    await redis.set(keys.pace(source), at() + AN_HOUR);
    expect(await admit({ requests: 60, perMs: A_MINUTE })).not.toBeNull();
  });

  test('a claim takes no more requests than the pace allows, and says when the next one goes', async () => {
    const { source, pass } = newSource();
    const runs = Array.from({ length: 5 }, (_, at) => `run-${at}`);
    const commits = runs.map((runId) => ({
      before: null,
      after: newWatch({ source, runId, timeoutAt: Infinity }),
      events: [],
      deliveries: [],
      schedule: { does: 'enter', withinMs: 0, kind: 'first' } as const,
    }));
    await pass(1);
    await watches.commitMany(commits);
    const claim = () =>
      requests.claim(source, {
        token: `process.${(names += 1)}`,
        most: 5,
        limit: { requests: 120, perMs: A_MINUTE },
        leaseMs: 100_000,
        roundMs: A_MINUTE,
      });
    await pass(1_000);
    const { claimed, next } = await claim();
    expect({ claimed: claimed.length, next }).toEqual({
      claimed: 2,
      next: { is: 'limited', ms: 500 },
    });
    await pass(499);
    expect((await claim()).claimed).toEqual([]);
    await pass(1);
    expect((await claim()).claimed).toHaveLength(1);
  });
});
