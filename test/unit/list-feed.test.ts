import { expect, test } from '@jest/globals';
import { pageMember } from '../../src/core/feed/page-name.ts';
import type { StoredPlan } from '../../src/core/feed/record.ts';
import { ListFeed, type ListFeedDependencies } from '../../src/feed/list-feed.ts';
import type { RequestClaim } from '../../src/poll/schedule.ts';

const NOW = 1_000_000;

/** A plan that reads so many pages of the source's list. */
function planOf(pages: number): StoredPlan {
  const list = Array.from({ length: pages }, (_, at) => ({ page: at + 1, intervalMs: 1_000 }));
  return {
    at: NOW,
    watches: 200,
    costMultiplier: 1,
    pageMultiplier: 1,
    spending: 1,
    wantedPerMs: 0.01,
    reads: { runs: 200, usualMs: 1_000, longestMs: 1_000, stretched: 0 },
    firstReadsMs: 0,
    backstopMs: 120_000,
    lists: [{ workflowId: null, size: 100, pages: list }],
  };
}

test('a page of a plan that another process has just made is read', async () => {
  const world = { plan: planOf(1), pages: [] as number[] };
  const feed = new ListFeed({
    source: 'default',
    isOn: true,
    store: {
      plan: async () => world.plan,
      pageRecord: async () => ({ trust: { since: Infinity } }),
    },
    reader: {
      async readPage({ page }: { page: number }) {
        world.pages.push(page);
        return { kind: 'unavailable', message: '' };
      },
    },
    schedule: { release: async () => undefined },
    discoverPass: () => null,
    now: () => NOW,
  } as unknown as ListFeedDependencies);
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
