import { describe, expect, test } from '@jest/globals';
import {
  backstopMs,
  BACKSTOP_MS,
  nextPlanMs,
  planFeed,
  readInterval,
  type PlanLimits,
} from '../../src/core/feed/plan.ts';
import type { PlannedList, PlannedWatch } from '../../src/core/feed/plan-input.ts';

const AMPLE: PlanLimits = {
  requestsPerMs: 1,
  minIntervalMs: 1_000,
  maxIntervalMs: 60_000,
  pagesPerMs: Infinity,
};

/** Ten requests a second, the default. */
const SHORT = { ...AMPLE, requestsPerMs: 0.01 };

const SOURCE = null;

function watch(changes: Partial<PlannedWatch> = {}): PlannedWatch {
  return {
    runId: 'run',
    nextPollAt: null,
    workflowId: 'a',
    createdAt: 0,
    intervalMs: 10_000,
    longestMs: 60_000,
    ageMs: 300_000,
    isListed: true,
    isUnseen: false,
    ...changes,
  };
}

/** Watches of so many workflows in turn, the newest first, a second between any two. */
function watches(count: number, workflows = 1, changes: Partial<PlannedWatch> = {}) {
  return Array.from({ length: count }, (_, at) =>
    watch({ workflowId: `workflow-${at % workflows}`, createdAt: -at * 1_000, ...changes }),
  );
}

function list(changes: Partial<PlannedList>): PlannedList {
  return { workflowId: SOURCE, marks: [], size: 100, pages: Infinity, isInUse: false, ...changes };
}

/** The source's list, and those of so many workflows. */
function lists(workflows: number): PlannedList[] {
  const names = Array.from({ length: workflows }, (_, at) => `workflow-${at}`);
  return [SOURCE, ...names].map((workflowId) => list({ workflowId }));
}

const pagesOf = (plan: ReturnType<typeof planFeed>) =>
  plan.lists.map(({ workflowId, pages }) => [workflowId, pages.map(({ page }) => page)]);

describe('the plan of a feed', () => {
  test('the next plan of more watches than a call takes arguments is made after half a millisecond of each', () => {
    expect(nextPlanMs(watches(200_000))).toBe(100_000);
  });

  test('a plan reads a single run singly', () => {
    const plan = planFeed([watch()], lists(1), AMPLE);
    expect([plan.lists, plan.singles.length, plan.costMultiplier]).toEqual([[], 1, 1]);
  });

  test('a plan reads many runs of one workflow by its list, however many pages they are on', () => {
    const plan = planFeed(watches(1_250), lists(1), AMPLE);
    expect(pagesOf(plan)).toEqual([['workflow-0', Array.from({ length: 13 }, (_, at) => at + 1)]]);
    expect(plan.singles).toEqual([]);
  });

  test('a plan reads the newest page alone of a list that has no others, and older runs singly', () => {
    const plan = planFeed(watches(250), [list({ pages: 1 })], AMPLE);
    expect(pagesOf(plan)).toEqual([[SOURCE, [1]]]);
    expect(plan.singles.map(({ createdAt }) => createdAt)).toEqual(
      Array.from({ length: 150 }, (_, at) => -(100 + at) * 1_000),
    );
  });

  test("a plan reads few runs each of many workflows by the source's list", () => {
    const plan = planFeed(watches(400, 100), lists(100), AMPLE);
    expect(pagesOf(plan)).toEqual([[SOURCE, [1, 2, 3, 4]]]);
  });

  test("a plan reads a large workflow by its own list, and the rest by the source's", () => {
    const others = Array.from({ length: 40 }, (_, at) =>
      watch({ workflowId: `other-${at % 20}`, createdAt: -at * 1_000 }),
    );
    const far = Array.from({ length: 300 }, (_, at) =>
      watch({ workflowId: 'workflow-0', createdAt: -1e6 - at * 1_000 }),
    );
    // Between any two runs of the large workflow there are nine of others in the source's list.
    const marks = Array.from({ length: 40 }, (_, at) => ({
      page: at + 1,
      newest: at < 1 ? 0 : -1e6 - at * 10_000,
      oldest: at < 1 ? -1e6 - 1 : -1e6 - (at + 1) * 10_000,
      runs: 100,
      isLast: false,
      at: 0,
    }));
    const all = [list({ marks }), list({ workflowId: 'workflow-0' })];
    const plan = planFeed([...others, ...far], all, AMPLE);
    expect(new Map(plan.lists.map(({ workflowId, pages }) => [workflowId, pages.length]))).toEqual(
      new Map([
        ['workflow-0', 3],
        [SOURCE, 1],
      ]),
    );
  });

  test("a plan uses the source's list where a workflow's cannot be read, and the other way round", () => {
    const [source, own] = lists(1) as [PlannedList, PlannedList];
    expect(pagesOf(planFeed(watches(50), [source], AMPLE))).toEqual([[SOURCE, [1]]]);
    expect(pagesOf(planFeed(watches(50), [own], AMPLE))).toEqual([['workflow-0', [1]]]);
    expect(planFeed(watches(50), [], AMPLE).singles).toHaveLength(50);
  });

  test('a plan raises the cost of requests until all of them fit into the rate limit', () => {
    const single = planFeed(watches(1_000, 1_000), [], SHORT);
    const rate = 1_000 / (10_000 * Math.sqrt(single.costMultiplier));
    expect(rate).toBeGreaterThan(0);
    expect(single.costMultiplier).toBeGreaterThan(10);
    const paged = planFeed(watches(1_000, 1_000), lists(0), SHORT);
    expect(paged.costMultiplier).toBeLessThan(single.costMultiplier / 10);
  });

  test('a plan says how often runs are read, and how many of them too rarely', () => {
    const short = planFeed(watches(2_000, 1, { intervalMs: 60_000, longestMs: 1e6 }), [], SHORT);
    expect(short.reads).toMatchObject({ runs: 2_000, stretched: 2_000 });
    expect(short.reads.usualMs).toBeGreaterThan(200_000);
    const byLists = planFeed(watches(2_000, 1, { intervalMs: 60_000 }), lists(1), SHORT);
    expect(byLists.reads.stretched).toBe(0);
    expect(byLists.reads.longestMs).toBeLessThan(10_000);
    const single = watch({ isListed: false, intervalMs: 20_000 });
    const both = planFeed([...watches(100), single], lists(1), AMPLE);
    expect(both.reads).toEqual({ runs: 101, usualMs: 1_000, longestMs: 20_000, stretched: 0 });
  });

  test('a plan reads the head of the list of the source for runs that were never read', () => {
    const unseen = watches(250, 1, { workflowId: null, createdAt: NaN, isUnseen: true });
    expect(pagesOf(planFeed(unseen, lists(0), SHORT))).toEqual([[SOURCE, [1, 2, 3]]]);
  });

  test('a plan wants no more requests for runs that only wait for a first read', () => {
    const seen = watches(100);
    const unseen = watches(1_000, 1, { isListed: false, isUnseen: true, intervalMs: 1_000 });
    const { wantedPerMs } = planFeed([...seen, ...unseen], [], AMPLE);
    expect(wantedPerMs).toBe(planFeed(seen, [], AMPLE).wantedPerMs);
  });

  test('a plan slows down pages that cost too much to take in, and nothing else', () => {
    const all = [...watches(1_000), ...watches(10, 10, { isListed: false })];
    const quick = planFeed(all, lists(1), AMPLE);
    const slow = planFeed(all, lists(1), { ...AMPLE, pagesPerMs: 0.001 });
    const rate = slow.lists[0]!.pages.reduce((sum, { intervalMs }) => sum + 1 / intervalMs, 0);
    expect(rate).toBeLessThanOrEqual(0.00101);
    expect(slow.costMultiplier).toBe(quick.costMultiplier);
  });
});

describe('the interval of a page', () => {
  test("a page's interval is that of a run of it, divided by the square root of their number", () => {
    expect(readInterval(watches(25), 1, 1)).toBeCloseTo(2_000);
    expect(readInterval(watches(25), 4, 1)).toBeCloseTo(4_000);
  });

  test("a page's interval is at least the minimum, and at most what a watch on it accepts", () => {
    expect(readInterval(watches(400), 1, 1_000)).toBe(1_000);
    expect(readInterval([watch({ longestMs: 3_000 }), watch()], 1_000, 1)).toBeCloseTo(3_000);
  });
});

test('backstops take a tenth of the rate limit at the most', () => {
  expect(backstopMs(10, 0.01)).toBe(BACKSTOP_MS);
  expect(backstopMs(20_000, 0.01)).toBe(20_000_000);
});
