import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { configSchema } from '../../src/config/schema.ts';
import { isoTime } from '../../src/core/event/event.ts';
import type { DiscoveryCursor } from '../../src/core/feed/discovery.ts';
import type { ListOutcome } from '../../src/core/feed/run-list.ts';
import type { SourceRecord, SourceState } from '../../src/core/source/throttle.ts';
import type { WatchKey } from '../../src/core/watch/watch.ts';
import type { WatchChange } from '../../src/redis/watch-change.ts';
import type { DiscoveryTrouble } from '../../src/redis/stores/discovery-store.ts';
import { NOXUS_TRAITS } from '../../src/noxus/traits.ts';
import { ListDiscovery, RememberedCursors } from '../../src/source/discovery.ts';
import type { RequestClaim } from '../../src/source/schedule.ts';
import type { Source } from '../../src/source/source.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import { newWatch, NOON } from '../support/builders.ts';
import { collectLog } from '../support/collect-log.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { FakeRunList } from '../support/fake-run-list.ts';

const LIST = { source: 'default', workflowId: null };
const nothing = () => undefined;
const EVERY_MS = 10_000;
const LEASE_MS = 15_000;
const PAUSE_MS = 90_000;

/** What is known of a source that takes requests. */
const OPEN: SourceRecord = {
  state: null,
  answeredAt: null,
  openSince: null,
  access: null,
  answeredBy: null,
  text: '',
};

function closedAt(probeAt: number): SourceState {
  const message = 'status 429';
  const closed = { reason: 'rate_limited' as const, message, at: NOON, probeAt, failedProbes: 0 };
  return { since: NOON, row: [], closed, said: [], unsaid: [] };
}

/** State that all processes share, in memory, with a clock that the test sets. */
function sharedGround(world: FakeRunList, since: string, pages: number) {
  let now = NOON;
  let claim: { token: string; until: number } | null = null;
  let closedUntil: number | null = null;
  let trouble: DiscoveryTrouble | null = null;
  let tokens = 0;
  const ground = {
    cursor: null as DiscoveryCursor | null,
    watched: new Set<string>(),
    log: [] as string[],
    /** Called before each step that another process could see; throws to simulate a crash. */
    beforeStep: () => undefined as void,
    now: () => now,
    pass: (ms: number) => void (now += ms),
    /** When the head of the list may be claimed, ms from now. */
    nextClaimInMs: () => (claim === null ? 0 : claim.until - now),
    /** Claims the head of the list and makes a pass, if it is due and no other process does. */
    async read(reading: ListDiscovery) {
      if (claim !== null && claim.until > now) return;
      const token = `token-${(tokens += 1)}`;
      claim = { token, until: now + LEASE_MS };
      const sweep = { list: LIST, plan: null, claim: { token } as RequestClaim };
      const nextMs = await reading.read(sweep, { settle: nothing });
      claim = { token, until: now + nextMs };
    },
  };
  const holds = ({ token }: { token: string }) => claim?.token === token && claim.until > now;
  const step = <Result>(act: () => Result): Promise<Result> =>
    Promise.resolve().then(() => {
      ground.beforeStep();
      return act();
    });
  const stored = { watch: newWatch(), version: 1, number: 1 };
  const stores = {
    discoveries: {
      cursors: () => step(() => [ground.cursor]),
      moveCursor: (_: unknown, held: { token: string }, cursor: DiscoveryCursor) =>
        step(() => {
          if (holds(held)) ground.cursor = structuredClone(cursor);
          return holds(held) ? [] : null;
        }),
      troubles: () => step(() => [trouble]),
      keepTrouble: (_: unknown, found: DiscoveryTrouble) => step(() => void (trouble = found)),
      beginTrouble: (_: unknown, found: DiscoveryTrouble) =>
        step(() => {
          const isFirst = trouble === null;
          trouble ??= found;
          return isFirst ? [] : null;
        }),
      endTrouble: () =>
        step(() => {
          const wasThere = trouble !== null;
          trouble = null;
          return wasThere ? [] : null;
        }),
    },
    watches: {
      getMany: (keys: WatchKey[]) =>
        step(() => keys.map(({ runId }) => (ground.watched.has(runId) ? stored : null))),
      commitMany: (changes: WatchChange[]) =>
        step(() =>
          changes.map(({ after }) => {
            if (ground.watched.has(after.runId)) return null;
            ground.watched.add(after.runId);
            return [];
          }),
        ),
    },
  };
  const log = collectLog();
  const process = testProcess({
    config: configSchema.parse({
      data_dir: '/nowhere',
      sources: {
        default: { api_key: 'k', discover: { workflows: 'all', since, every: `${EVERY_MS}ms` } },
      },
    }),
    stores,
    log: {
      ...log,
      warn({ oldest }: { oldest?: string }, message: string) {
        ground.log.push(
          oldest === undefined ? message : `cut short at ${Date.parse(oldest) - NOON}`,
        );
      },
    } as unknown as Logger,
    async raise({ type, data }, write) {
      if ((await write?.(null)) === null) return;
      const isOver = type === 'discovery.recovered';
      ground.log.push(isOver ? 'recovered' : `unavailable: ${String(data['message'])}`);
    },
    now: ground.now,
  });
  const source = testSource({
    process,
    traits: { ...NOXUS_TRAITS, lists: { ...NOXUS_TRAITS.lists!, pages } },
    lists: {
      read: (_, { page, size }) =>
        step(() => {
          const outcome = world.readPage({ workflowId: LIST.workflowId, page, size });
          if (outcome.kind === 'rate_limited') closedUntil = now + PAUSE_MS;
          return { outcome, nextMs: null };
        }),
    },
    limiter: { claim: async () => ({ settle: nothing }) },
    schedule: {
      renew: (held) =>
        step(() => {
          if (!holds(held)) return false;
          claim = { token: held.token, until: now + LEASE_MS };
          return true;
        }),
    },
    throttle: {
      read: () =>
        step(() => ({ ...OPEN, state: closedUntil === null ? null : closedAt(closedUntil) })),
    },
  });
  return { ground, source };
}

/** A process that discovers the runs of the list. */
function discoverer(source: Source): ListDiscovery {
  const cursors = new RememberedCursors(source.process.stores.discoveries, [LIST]);
  return new ListDiscovery(source, LIST, { cursors, signal: new AbortController().signal });
}

/** A world, and a process that reads its list whenever a pass is due. */
function discovery({ sinceS, pages = Infinity }: { sinceS?: number; pages?: number } = {}) {
  const world = new FakeRunList();
  world.isNewestOnly = pages === 1;
  const since = sinceS === undefined ? 'registration' : isoTime(NOON + sinceS * 1_000);
  const { ground, source } = sharedGround(world, since, pages);
  const reading = discoverer(source);
  return {
    world,
    ground,
    source,
    /** Reads the list when the next pass is due. */
    async next() {
      ground.pass(Math.max(0, ground.nextClaimInMs()));
      await ground.read(reading);
    },
    watched: () => [...ground.watched].sort(byNumber),
  };
}

function byNumber(one: string, other: string): number {
  return Number(one.slice(4)) - Number(other.slice(4));
}

describe('discovery', () => {
  test('discovery ignores runs that ended before its start, and watches those that begin later', async () => {
    const { world, next, watched } = discovery();
    world.begin(350, 0, 'completed');
    await next();
    expect(watched()).toEqual([]);
    const later = world.begin(3, 100);
    await next();
    await next();
    expect(watched()).toEqual(later);
  });

  test.each([20, 450])(
    'discovery with a time as since watches the %i runs created then or later, and no others',
    async (count) => {
      const { world, next, watched } = discovery({ sinceS: 1_000 });
      world.begin(150, 0);
      const wanted = world.begin(count, 1_000);
      await next();
      expect(watched()).toEqual(wanted);
      const later = world.begin(3, 2_000);
      await next();
      expect(watched()).toEqual([...wanted, ...later]);
    },
  );

  test('discovery with a time as since reads at most ten pages at first, and reports it', async () => {
    const { world, next, watched, ground } = discovery({ sinceS: 0 });
    const all = world.begin(1_500, 0);
    await next();
    await next();
    expect(watched()).toEqual(all.slice(-1_000));
    expect(Math.max(...world.pages)).toBe(10);
    expect(ground.log).toEqual(['cut short at 500']);
  });

  test('discovery with a time to come as since ignores runs created before it', async () => {
    const { world, next, watched } = discovery({ sinceS: 1_000 });
    await next();
    world.begin(3, 500);
    await next();
    const later = world.begin(3, 1_000);
    await next();
    expect(watched()).toEqual(later);
  });

  test('a discovery pass after the first takes one request where little or nothing is new', async () => {
    const { world, next } = discovery();
    for (let run = 0; run < 350; run += 1) world.begin(1, run * 60, 'completed');
    await next();
    world.begin(20, 350 * 60);
    await next();
    await next();
    expect(world.pages).toEqual([1, 2, 3, 4, 1, 1]);
  });

  test('discovery watches all runs of a list that was empty, or short, at its start', async () => {
    const { world, next, watched } = discovery();
    await next();
    const later = [...world.begin(1, -86_400), ...world.begin(150, 0)];
    await next();
    expect(watched()).toEqual(later);
  });

  test('discovery finds runs that appear late, and those of a clock that is behind or ahead', async () => {
    const { world, next, watched } = discovery();
    for (let run = 0; run < 350; run += 1) world.begin(1, run * 10, 'completed');
    await next();
    const newest = 349 * 10;
    const late = world.begin(1, newest - 55);
    const ahead = world.begin(1, newest + 7_200);
    await next();
    const normal = world.begin(120, newest + 10);
    await next();
    expect(watched()).toEqual([...late, ...ahead, ...normal]);
  });

  test('discovery takes old runs that move up after deletions for old', async () => {
    const { world, next, watched } = discovery();
    for (let run = 0; run < 350; run += 1) world.begin(1, run * 10, 'completed');
    await next();
    world.deleteNewest(60);
    await next();
    await next();
    expect(watched()).toEqual([]);
  });

  test('discovery misses no run where pages shift while they are read', async () => {
    const { world, next, watched } = discovery();
    world.begin(250, 0, 'completed');
    await next();
    const later = world.begin(250, 1_000);
    const deleted = new Set<string>();
    const remove = () => world.deleteNewest(30).forEach((id) => deleted.add(id));
    world.plan.push(
      () => undefined,
      remove,
      () => void later.push(...world.begin(40, 1_001)),
    );
    await next();
    const left = later.filter((id) => !deleted.has(id));
    expect(watched()).toEqual(expect.arrayContaining(left));
    expect(watched().filter((id) => !later.includes(id))).toEqual([]);
  });

  test.each([
    { most: Infinity, count: 105, reads: 1 },
    { most: 50, count: 53, reads: 2 },
  ])(
    'discovery finds runs that move up after a first page of at most $most runs',
    async ({ most, count, reads }) => {
      const { world, next, watched } = discovery();
      await next();
      world.most = most;
      const later = world.begin(count, 0);
      for (let read = 0; read < reads; read += 1) world.plan.push(() => undefined);
      world.plan.push(() => void world.deleteNewest(7));
      await next();
      expect(watched()).toEqual(later);
    },
  );

  test('a list that is empty for a while does not mislead discovery', async () => {
    const { world, next, watched } = discovery();
    for (let run = 0; run < 350; run += 1) world.begin(1, run * 10, 'completed');
    await next();
    world.answer = { kind: 'page', page: { runs: [], isLast: true, isCut: false, bytes: 2 } };
    await next();
    world.answer = null;
    await next();
    expect(watched()).toEqual([]);
  });

  test('discovery reports once that a list begins with the oldest runs, and stops', async () => {
    const { world, next, ground } = discovery();
    world.isOldestFirst = true;
    for (let run = 0; run < 250; run += 1) world.begin(1, run * 10, 'completed');
    await next();
    await next();
    expect(ground.log).toEqual(['unavailable: the list does not begin with the newest runs']);
  });

  test('discovery reports an unreadable list once, reads it less often, and misses no run', async () => {
    const { world, next, ground, watched } = discovery();
    await next();
    world.answer = { kind: 'not_offered', status: 403, message: 'status 403' };
    const pauses: number[] = [];
    const later: string[] = [];
    for (let attempt = 0; attempt < 6; attempt += 1) {
      later.push(...world.begin(30, attempt * 60));
      await next();
      pauses.push(ground.nextClaimInMs());
    }
    expect(pauses).toEqual([10_000, 20_000, 40_000, 60_000, 60_000, 60_000]);
    world.answer = null;
    await next();
    expect(ground.log).toEqual(['unavailable: status 403', 'recovered']);
    expect(watched()).toEqual(later);
  });
});

describe('discovery in the newest page alone', () => {
  test('runs that begin later are watched with one request a pass, and older ones are not', async () => {
    const { world, next, watched, ground } = discovery({ pages: 1 });
    world.begin(350, 0, 'completed');
    await next();
    const later = world.begin(60, 100);
    await next();
    world.deleteNewest(55);
    await next();
    later.push(...world.begin(99, 200));
    await next();
    expect(watched()).toEqual(later);
    expect(world.pages).toEqual([1, 1, 1, 1]);
    expect(ground.log).toEqual([]);
  });

  test('the first run of a list that was empty is watched, and no gap is reported', async () => {
    const { world, next, watched, ground } = discovery({ pages: 1 });
    await next();
    const later = world.begin(1, 0);
    await next();
    expect([watched(), ground.log]).toEqual([later, []]);
  });

  test('a page that was cut short is read again with fewer runs', async () => {
    const { world, next, watched } = discovery({ pages: 1 });
    world.begin(100, 0, 'completed');
    await next();
    world.most = 50;
    const later = world.begin(30, 100);
    await next();
    expect(world.pages).toEqual([1, 1, 1]);
    expect(watched()).toEqual(later);
  });

  test('a time as since is reached as far as the page goes, which is reported', async () => {
    const { world, next, watched, ground } = discovery({ pages: 1, sinceS: 0 });
    const all = world.begin(150, 0);
    await next();
    expect(watched()).toEqual(all.slice(-100));
    expect(ground.log).toEqual(['cut short at 50']);
  });

  test('runs that began between two passes are missed only where that is reported, wherever a process dies', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            death: fc.option(fc.nat({ max: 12 })),
            begin: fc.oneof(fc.nat({ max: 90 }), fc.nat({ max: 260 })),
            behindS: fc.integer({ min: 0, max: 50 }),
            deleted: fc.nat({ max: 5 }),
          }),
          { minLength: 1, maxLength: 6 },
        ),
        fc.integer({ min: 0, max: 350 }),
        async (turns, before) => {
          const { world, ground, next, watched } = discovery({ pages: 1 });
          const old = new Set(world.begin(before, 0, 'completed'));
          await next();
          let second = 100;
          for (const { death, begin, behindS, deleted } of turns) {
            second += 30;
            world.deleteNewest(deleted);
            world.begin(begin, second - behindS);
            if (death !== null) await dieAfter(death, ground, next);
            await next();
          }
          expect(watched().filter((id) => old.has(id))).toEqual([]);
          const missed = world.ids.filter((id) => !old.has(id) && !ground.watched.has(id));
          if (missed.length > 0) expect(ground.log).toContain('discovery.gap');
        },
      ),
      { numRuns: 200 },
    );
  });

  test('new runs that came late among known ones at the end of the page are reported as a gap', async () => {
    const { world, next, ground } = discovery({ pages: 1 });
    await next();
    world.begin(19, 125);
    await next();
    world.begin(84, 125);
    await next();
    expect(ground.log).toEqual(['discovery.gap']);
  });

  test('a run that came late in a long page is no gap', async () => {
    const { world, next, ground } = discovery({ pages: 1 });
    for (let second = 0; second < 150; second += 10) world.begin(10, second, 'completed');
    await next();
    world.begin(1, 138);
    await next();
    expect(ground.log).toEqual([]);
  });
});

test('more new runs than a page that gives fewer than were asked for shows are reported as a gap', async () => {
  const { world, next, ground } = discovery();
  world.begin(5, 0, 'completed');
  await next();
  const page = { runs: [], isLast: true, isCut: false, bytes: 2 };
  world.begin(60, 100);
  const whole = world.readPage({ workflowId: null, page: 1, size: 50 });
  if (whole.kind !== 'page') throw new Error('no page');
  world.answer = { kind: 'page', page: { ...page, runs: whole.page.runs } };
  await next();
  expect(ground.log).toEqual(['discovery.gap']);
});

test('discovery goes on where single runs of a list have another time than that of their place', async () => {
  const { world, next, ground, watched } = discovery();
  const old: string[] = [];
  for (let run = 0; run < 150; run += 1) old.push(...world.begin(1, run * 60, 'completed'));
  world.redate(old[50]!, 500 * 60);
  await next();
  const later = world.begin(3, 150 * 60);
  await next();
  await next();
  expect(ground.log).toEqual([]);
  expect(watched()).toEqual(later);
});

describe('a source that pauses', () => {
  const SLOW_DOWN: ListOutcome = {
    kind: 'rate_limited',
    retryAfterMs: PAUSE_MS,
    message: 'status 429',
  };

  test('discovery pauses with a paused source, and misses no run', async () => {
    const { world, next, ground, watched } = discovery();
    await next();
    const later = world.begin(3, 0);
    world.answer = SLOW_DOWN;
    await next();
    expect(ground.nextClaimInMs()).toBe(PAUSE_MS + EVERY_MS);
    world.answer = null;
    await next();
    expect(world.pages).toEqual([1, 1, 1]);
    expect(ground.log).toEqual(['unavailable: status 429', 'recovered']);
    expect(watched()).toEqual(later);
  });

  test('while a source pauses because of its list, only polls of runs probe it', async () => {
    const { world, next, ground } = discovery();
    world.answer = SLOW_DOWN;
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 3; attempt += 1) {
      await next();
      pauses.push(ground.nextClaimInMs());
    }
    expect(pauses).toEqual([PAUSE_MS + EVERY_MS, 2 * PAUSE_MS, 2 * PAUSE_MS]);
  });
});

describe('several processes', () => {
  test('several processes read a list one at a time, as often as one would', async () => {
    const { world, ground, source, next } = discovery();
    const others = [1, 2].map(() => discoverer(source));
    world.begin(10, 0, 'completed');
    for (let second = 0; second < 30; second += 1) {
      ground.pass(1_000);
      await Promise.all(others.map((one) => ground.read(one)));
    }
    await next();
    expect(world.pages.length).toBe(4);
  });

  test.each([20, 150])(
    'several processes find all of %i new runs, whatever step one of them dies after',
    async (count) => {
      for (let steps = 0; steps < 20; steps += 1) {
        const { world, ground, next, watched } = discovery();
        for (let run = 0; run < 150; run += 1) world.begin(1, run * 10, 'completed');
        await next();
        const later = world.begin(count, 2_000);
        await dieAfter(steps, ground, next);
        await next();
        expect(watched()).toEqual(later);
      }
    },
  );

  test('several processes miss no new run and watch no old one, wherever one of them dies', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            deaths: fc.array(fc.oneof(fc.nat({ max: 10 }), fc.nat({ max: 40 })), { maxLength: 2 }),
            begin: fc.integer({ min: 0, max: 260 }),
            behindS: fc.integer({ min: 0, max: 50 }),
            deletes: fc.boolean(),
          }),
          { minLength: 1, maxLength: 6 },
        ),
        fc.integer({ min: 0, max: 350 }),
        async (turns, before) => {
          const { world, ground, next, watched } = discovery();
          const old = new Set(world.begin(before, 0, 'completed'));
          await next();
          let second = 100;
          for (const { deaths, begin, behindS, deletes } of turns) {
            second += 30;
            world.begin(begin, second - behindS);
            if (deletes)
              world.plan.push(
                () => undefined,
                () => void world.deleteNewest(7),
              );
            for (const stepsToLive of deaths) await dieAfter(stepsToLive, ground, next);
            await next();
            world.plan.length = 0;
          }
          ground.beforeStep = () => undefined;
          await next();
          expect(watched().filter((id) => old.has(id))).toEqual([]);
          const missed = world.ids.filter((id) => !old.has(id) && !ground.watched.has(id));
          expect(missed).toEqual([]);
        },
      ),
      { numRuns: 40 },
    );
  });
});

/** Lets a process make this many steps. */
async function dieAfter(
  steps: number,
  ground: { beforeStep: () => void },
  next: () => Promise<void>,
): Promise<void> {
  let left = steps;
  ground.beforeStep = () => {
    if ((left -= 1) < 0) throw new Error('died');
  };
  await next().catch(() => undefined);
  ground.beforeStep = () => undefined;
}
