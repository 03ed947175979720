import { expect, test } from '@jest/globals';
import { NEW_TRUST } from '../../src/core/feed/list-trust.ts';
import { pageMember } from '../../src/core/feed/page-name.ts';
import type { StoredPlan } from '../../src/redis/stores/feed-store.ts';
import { ListFeed } from '../../src/source/list-feed.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import type { StoredWatch } from '../../src/redis/watch-change.ts';
import type { StreamOffer } from '../../src/source/stream-openings.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import { newWatch, snapshot } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';

const NOW = 1_000_000;

/** A plan that reads so many pages of the source's list. */
function planOf(pages: number): StoredPlan {
  const list = Array.from({ length: pages }, (_, at) => ({ page: at + 1, intervalMs: 1_000 }));
  return {
    at: NOW,
    watches: 200,
    costMultiplier: 1,
    leastPageMs: 1_000,
    wantedPerMs: 0.01,
    reads: { runs: 200, usualMs: 1_000, longestMs: 1_000, stretched: 0 },
    lists: [{ workflowId: null, size: 100, pages: list }],
  };
}

test('a page of a plan that another process has just made is read', async () => {
  const world = { plan: planOf(1), pages: [] as number[] };
  const feeds = {
    plan: async () => world.plan,
    pageRecord: async () => ({
      watches: [],
      hints: [],
      checkedAt: 0,
      first: null,
      trust: { ...NEW_TRUST, since: Infinity },
    }),
  };
  const feed = new ListFeed(
    testSource({
      process: testProcess({ stores: { feeds }, now: () => NOW }),
      reader: {
        async readPage({ page }) {
          world.pages.push(page);
          return { kind: 'unavailable', message: '' };
        },
      },
      schedule: { release: async () => undefined },
    }),
  );
  const permit = { settle: () => undefined, giveBack: () => undefined };
  const read = (page: number) =>
    feed.readPage({ member: pageMember({ workflowId: null, page }) } as RequestClaim, permit);
  await read(1);
  world.plan = planOf(2);
  await read(2);
  expect(world.pages).toEqual([1, 2]);
  await read(3);
  expect(world.pages).toEqual([1, 2]);
});

test('polls of new watches call for a plan no sooner than the size of the present one allows', async () => {
  const world = { now: NOW, plan: { ...planOf(200), watches: 20_000 } };
  const entered: number[] = [];
  const feeds = { plan: async () => world.plan };
  const feed = new ListFeed(
    testSource({
      process: testProcess({ stores: { feeds }, now: () => world.now }),
      schedule: {
        async enterFeed(_kind, [plan]) {
          entered.push(plan?.withinMs ?? NaN);
        },
      },
    }),
  );
  const poll = async (runId: string) => {
    world.now += 5_000;
    await feed.notice({ runId, state: 'active', polls: 1 } as Watch);
  };
  await poll('a');
  await poll('b');
  await feed.refresh();
  await poll('c');
  expect(entered).toEqual([0, 10_000]);
});

/** So many watches, of which none may be used once the next one is asked for. */
async function* eachOnce(count: number): AsyncIterable<StoredWatch[]> {
  for (let at = 0; at < count; at += 1) {
    const runId = `run-${at}`;
    const watch = newWatch({ runId, run: snapshot({ id: runId }), metadata: { team: 'ops' } });
    const { proxy, revoke } = Proxy.revocable(watch, {});
    yield [{ watch: proxy, version: 1, number: at }];
    revoke();
  }
}

test('a plan keeps no watch in memory once it has read the next ones', async () => {
  const offered: StreamOffer[] = [];
  const feeds = {
    hintedRuns: async () => [],
    hints: async () => [null],
    active: () => eachOnce(3),
    plan: async () => null,
    read: async () => [],
    putPlan: async () => undefined,
  };
  const feed = new ListFeed(
    testSource({
      process: testProcess({ stores: { feeds }, random: () => 0.5, now: () => NOW }),
      limiter: { limit: { requests: 100, perMs: 1_000 } },
      streams: {
        surveyed: async () => ({ isStreamed: () => false, isRelied: () => false }),
        offerOf: ({ runId }) => ({ runId, rank: 0 }),
        offerAll: (offers) => void offered.push(...offers),
      },
    }),
  );
  await feed.makePlan({} as RequestClaim);
  expect(feed.costMultiplier()).toBe(1);
  expect(offered.map(({ runId }) => runId)).toEqual(['run-0', 'run-1', 'run-2']);
});
