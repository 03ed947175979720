import { NO_LOAD } from '../../src/core/cadence/load.ts';
import { pageMember } from '../../src/core/feed/page-name.ts';
import { REQUEST_KINDS } from '../../src/core/source/request-order.ts';
import { afterAll, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as delay } from 'node:timers/promises';
import { configSchema } from '../../src/config/schema.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { Schedule, ScheduleRepair, type RequestClaim } from '../../src/source/schedule.ts';
import type { Logger } from '../../src/telemetry/logger.ts';
import { newDelivery } from '../../src/core/delivery/delivery.ts';
import { newWatch, snapshot } from '../support/builders.ts';
import { collectLog } from '../support/collect-log.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { closeSource, openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys, requests, watches, sources } = stores;
afterAll(() => stores.close());

const AN_HOUR = 3_600_000;

let names = 0;
let source: string;

beforeEach(() => {
  source = `source-${(names += 1)}`;
});

interface ProcessOptions {
  id?: string;
  requests?: number;
  perMs?: number;
  deadlineMs?: number;
  isShort?: boolean;
}

/** A process's view of the schedule, on a clock that stands still unless the test moves it. */
function processOn(options: ProcessOptions = {}) {
  const { id = `process-${(names += 1)}`, perMs = 1_000, deadlineMs = 10_000 } = options;
  const clock = { ms: 0 };
  const due: (number | 'free')[] = [];
  const limit = { requests: options.requests ?? 1_000, perMs };
  const config = configSchema.parse({ data_dir: '/nowhere' });
  // By then a round of all watches takes longer than the longest interval.
  const roundMs = options.isShort === true ? 2 * config.polling.max_interval : 0;
  const own = new Schedule(
    testSource({
      process: testProcess({ config, id, stores, monotonic: () => clock.ms }),
      name: source,
      deadlineMs,
      limiter: { limit, load: () => ({ ...NO_LOAD, roundMs }) },
      slots: {
        due: () => void due.push(0),
        dueIn: (ms) => void due.push(ms),
        free: () => void due.push('free'),
      },
    }),
  );
  return Object.assign(own, { id, clock, due });
}

type Process = ReturnType<typeof processOn>;

/** Watches runs that are due after a time, by default now. */
async function watch(runIds: readonly string[], inMs = 0, changes: Partial<Watch> = {}) {
  const changed = runIds.map((runId) => ({
    before: null,
    after: newWatch({ source, runId, timeoutAt: Date.now() + AN_HOUR, ...changes }),
    events: [],
    deliveries: [],
    schedule: { does: 'enter' as const, withinMs: inMs, kind: 'watch' as const },
  }));
  await watches.commitMany(changed);
}

async function claimed(process: Process): Promise<RequestClaim> {
  const { claims, next } = await process.claim(1);
  const [claim] = claims;
  if (claim === undefined) throw new Error(`nothing was claimed: ${JSON.stringify(next)}`);
  return claim;
}

const claimedRuns = async (process: Process, count: number) => {
  const found: string[] = [];
  for (let one = 0; one < count; one += 1) found.push((await claimed(process)).member);
  return found;
};

/** Writes a poll without a change. @returns the reply of the store */
async function commit({ stored, token }: RequestClaim, nextMs: number, spareMs?: number) {
  return watches.commitPoll({
    before: stored,
    after: { ...stored!.watch, polls: stored!.watch.polls + 1 },
    events: [],
    deliveries: [],
    schedule: {
      does: 'settle',
      token,
      next: { inMs: nextMs, kind: 'watch', ...(spareMs !== undefined && { spareMs }) },
      permitMs: null,
    },
  });
}

/** Polls runs that are due: their intervals are an hour, beyond the configured ones at once. */
async function pollWidened(process: Process, runIds: readonly string[]) {
  await watch(runIds);
  for (const [at] of runIds.entries()) await poll(process, AN_HOUR, at);
}

/** Makes the poll that goes next. */
async function poll(process: Process, nextMs: number, spareMs?: number) {
  const claim = await claimed(process);
  await commit(claim, nextMs, spareMs);
  process.settled(claim, nextMs);
}

const dueIn = async (runId: string) => {
  const [at] = await requests.dueTimes(source, [runId]);
  return at === null || at === undefined ? null : at - Date.now();
};

describe('claim from the schedule', () => {
  test('a claim takes the request due longest, once, and an idle one returns the next due time', async () => {
    await watch(['later'], AN_HOUR);
    await watch(['first']);
    await delay(2);
    await watch(['second']);
    const [one, two] = [processOn(), processOn()];
    expect([(await claimed(one)).member, (await claimed(two)).member]).toEqual(['first', 'second']);
    const { claims, next } = await one.claim(1);
    expect(claims).toEqual([]);
    expect(next.is).toBe('idle');
    expect(next.ms).toBeGreaterThan(AN_HOUR / 2);
    expect(await dueIn('first')).toBeNull();
  });

  test('a claim takes an expedited request before one that has been due longer', async () => {
    await watch(['long due', 'expedited']);
    const process = processOn();
    await process.expedite(['expedited']);
    const patient = {
      token: 'p.1',
      most: 1,
      limit: { requests: 9, perMs: 9 },
      leaseMs: 9,
      roundMs: 60_000,
    };
    const { claimed: taken } = await requests.claim(source, patient);
    expect(taken.map(({ member }) => member)).toEqual(['expedited']);
    expect((await claimed(process)).member).toBe('long due');
  });

  test('a claim takes a permit of the rate limit, which all processes share', async () => {
    await watch(['a', 'b']);
    const limit = { requests: 1, perMs: AN_HOUR };
    const last = await processOn(limit).claim(1);
    expect(last).toMatchObject({ claims: [{ member: 'a' }], next: { is: 'limited' } });
    expect(last.next.ms).toBeGreaterThan(AN_HOUR - 60_000);
    const none = await processOn(limit).claim(1);
    expect(none).toMatchObject({ claims: [], next: { is: 'limited' } });
    expect(await dueIn('b')).toBeLessThanOrEqual(0);
  });

  test('while nothing is due, runs beyond their configured interval are polled, the longest beyond first', async () => {
    const process = processOn({ isShort: true });
    await pollWidened(process, ['a', 'b', 'c']);
    await delay(5);
    await watch(['due']);
    expect(await claimedRuns(process, 4)).toEqual(['due', 'a', 'b', 'c']);
    const nothing = { claims: [], next: { is: 'idle', ms: null } };
    expect(await process.claim(1)).toEqual(nothing);
    expect(await processOn().claim(1)).toEqual(nothing);
  });

  test('an idle claim returns when the first run is beyond its configured interval', async () => {
    const process = processOn({ isShort: true });
    await watch(['a']);
    await poll(process, AN_HOUR, 60_000);
    const { ms } = (await process.claim(1)).next;
    expect(ms).toBeGreaterThan(50_000);
    expect(ms).toBeLessThanOrEqual(60_000);
  });

  test('a poll that a request left over makes is no late one, and is due at once where it is given up', async () => {
    const process = processOn({ isShort: true });
    await pollWidened(process, ['a']);
    await delay(5);
    const claim = await claimed(process);
    expect(claim.lagMs).toBe(0);
    await process.release(claim, 'as before');
    expect(await dueIn('a')).toBeLessThanOrEqual(0);
  });

  test('a run that is polled before its turn, or ends, takes no request that is left over', async () => {
    const process = processOn({ isShort: true });
    await pollWidened(process, ['polled', 'ended']);
    await process.expedite(['polled']);
    await poll(process, AN_HOUR);
    const stored = (await watches.get({ source, runId: 'ended' }))!;
    await watches.commit({
      before: stored,
      after: { ...stored.watch, state: 'cancelled' },
      events: [],
      deliveries: [],
      schedule: { does: 'leave' },
    });
    await delay(5);
    expect(await process.claim(1)).toMatchObject({ claims: [], next: { is: 'idle' } });
  });

  test('one claim takes as many as are due and permitted, the longest due first, and says when the next is due', async () => {
    await watch(['later'], AN_HOUR);
    for (const runId of ['a', 'b', 'c']) {
      await watch([runId]);
      await delay(2);
    }
    const { claims, next } = await processOn().claim(10);
    expect(claims.map(({ member }) => member)).toEqual(['a', 'b', 'c']);
    expect(new Set(claims.map(({ token }) => token)).size).toBe(3);
    expect(next.is).toBe('idle');
    expect(next.ms).toBeGreaterThan(AN_HOUR / 2);
  });

  test('a claim for fewer than are due says that more are due now', async () => {
    await watch(['a', 'b', 'c']);
    const { claims, next } = await processOn().claim(2);
    expect(claims).toHaveLength(2);
    expect(next).toEqual({ is: 'idle', ms: 0 });
  });

  test('one claim takes no more than the rate limit has left, and says when that lets one through', async () => {
    await watch(['a', 'b', 'c']);
    const limit = { requests: 2, perMs: 1_000 };
    const { claims, next } = await processOn(limit).claim(10);
    expect(claims.map(({ count }) => count)).toEqual([1, 2]);
    expect(next.is).toBe('limited');
    expect(next.ms).toBeGreaterThanOrEqual(1_000);
    expect(await dueIn('c')).toBeLessThanOrEqual(0);
  });

  test('of a paused source a claim takes one request as its probe, however many are due', async () => {
    await watch(['a', 'b', 'c']);
    await closeSource(sources, source, Date.now());
    await delay(2);
    const { claims, next } = await processOn().claim(10);
    expect(claims).toMatchObject([{ failedProbes: expect.any(Number) }]);
    expect(next.is).toBe('paused');
  });

  test('where no poll is due, a page of a list is the probe of a paused source', async () => {
    await watch(['later'], AN_HOUR);
    const process = processOn();
    const pages = [1, 2].map((page) => pageMember({ workflowId: null, page }));
    await process.enterFeed(
      'list',
      pages.map((member) => ({ member, withinMs: 0 })),
    );
    await closeSource(sources, source, Date.now());
    const { claims, next } = await process.claim(10);
    expect(claims).toMatchObject([{ member: pages[0], kind: 'list', failedProbes: 0 }]);
    expect(next.is).toBe('paused');
    expect(await process.claim(10)).toMatchObject({ claims: [], next: { is: 'paused' } });
  });

  test('of a paused source a due poll is the probe before a page that has been due longer', async () => {
    const process = processOn();
    await process.enterFeed('list', [
      { member: pageMember({ workflowId: null, page: 1 }), withinMs: 0 },
    ]);
    await delay(2);
    await watch(['a']);
    await closeSource(sources, source, Date.now());
    const { claims } = await process.claim(10);
    expect(claims).toMatchObject([{ member: 'a', failedProbes: 0 }]);
  });

  test('a claim from a paused source with nothing due says when the next page is, and leaves the probe', async () => {
    const process = processOn();
    const member = pageMember({ workflowId: null, page: 1 });
    await requests.enterMissing(source, 'list', [member]);
    const claim = await claimed(process);
    await process.release(claim, { inMs: AN_HOUR });
    await closeSource(sources, source, Date.now());
    const { claims, next } = await process.claim(10);
    expect([claims, next.is]).toEqual([[], 'idle']);
    expect(next.ms).toBeGreaterThan(AN_HOUR / 2);
    await watch(['a']);
    expect(await claimedRuns(process, 1)).toEqual(['a']);
  });

  test('one claim takes more than it reads at a time, each once', async () => {
    const runIds = Array.from({ length: 150 }, (_, at) => `run-${at}`);
    await watch(runIds);
    const { claims } = await processOn().claim(200);
    expect(claims.map(({ member }) => member).toSorted()).toEqual(runIds.toSorted());
  });

  test('a claim from a paused source returns the time until its end', async () => {
    await watch(['a']);
    await closeSource(sources, source, Date.now() + 600_000);
    const { claims, next } = await processOn().claim(1);
    expect(claims).toEqual([]);
    expect(next.is).toBe('paused');
    expect(next.ms).toBeGreaterThan(300_000);
  });

  test('a claim removes runs without an active watch', async () => {
    await watch(['over'], 0, { state: 'finished', run: snapshot() });
    await delay(2);
    await watch(['goes on']);
    const process = processOn();
    expect((await claimed(process)).member).toBe('goes on');
    expect(await process.countWatches()).toBe(1);
  });

  test('a process never claims a run that it is still reading', async () => {
    await watch(['a']);
    const process = processOn();
    await claimed(process);
    for await (const held of requests.heldBy(source, process.id)) {
      await requests.release(source, held, 'as before');
    }
    expect(await process.claim(1)).toMatchObject({ claims: [], next: { is: 'idle' } });
    expect(await dueIn('a')).toBeGreaterThan(500);
  });
});

describe('claimed request', () => {
  test('the write of a poll ends its claim and sets the next due time', async () => {
    await watch(['a']);
    const claim = await claimed(processOn());
    expect(await commit(claim, 600_000)).toEqual([]);
    expect(await dueIn('a')).toBeGreaterThan(300_000);
    expect(await redis.hlen(keys.requestClaims(source))).toBe(0);
  });

  test('a poll with an old token writes nothing', async () => {
    await watch(['a']);
    const [slow, quick] = [processOn(), processOn()];
    const old = await claimed(slow);
    await quick.takeOver(slow.id);
    const current = await claimed(quick);
    expect(await commit(old, 1_000)).toBe('lost');
    await slow.release(old, 'never');
    expect(await commit(current, 600_000)).toEqual([]);
    expect(await dueIn('a')).toBeGreaterThan(300_000);
  });

  test('a claim is stale after half of its lease', async () => {
    await watch(['a']);
    const process = processOn({ deadlineMs: 10_000 });
    const claim = await claimed(process);
    process.clock.ms = 10_000;
    expect(claim.isStale()).toBe(false);
    process.clock.ms = 10_001;
    expect(claim.isStale()).toBe(true);
  });

  test('the claims of a dead process are due again at once, before others', async () => {
    await watch(['taken']);
    const [dead, other] = [processOn(), processOn()];
    await claimed(dead);
    await delay(2);
    await watch(['other']);
    await other.takeOver(dead.id);
    expect(await claimedRuns(other, 2)).toEqual(['taken', 'other']);
  });

  test('a process releases claims of its own id that it does not hold, and no others', async () => {
    await watch(['a', 'b']);
    const [one, two] = [processOn(), processOn()];
    const { token } = await claimed(one);
    // As after a fail-over: a claim that was given back is there again.
    const forgotten = `${one.id}.forgotten ${Date.now()} ${Date.now() + AN_HOUR} watch`;
    await claimed(two);
    await redis.hset(keys.requestClaims(source), 'b', forgotten);
    await two.tend();
    expect(await dueIn('b')).toBeNull();
    await one.tend();
    expect(await dueIn('b')).toBeLessThanOrEqual(0);
    expect(await redis.hget(keys.requestClaims(source), 'a')).toMatch(new RegExp(`^${token} `));
  });

  test('an expired claim is released by any other process', async () => {
    await watch(['a']);
    const [stuck, other] = [processOn({ deadlineMs: 1 }), processOn()];
    await claimed(stuck);
    await delay(5);
    await other.tend();
    expect(await dueIn('a')).toBeLessThanOrEqual(0);
  });
});

describe('changes while a run is being read', () => {
  test('expediting a run that is being read makes it due after that', async () => {
    await watch(['a']);
    const process = processOn();
    const claim = await claimed(process);
    await process.expedite(['a']);
    expect(await dueIn('a')).toBeNull();
    await commit(claim, AN_HOUR);
    process.settled(claim, AN_HOUR);
    expect(await dueIn('a')).toBeLessThanOrEqual(0);
    // A new claim begins without it.
    await commit(await claimed(process), AN_HOUR);
    expect(await dueIn('a')).toBeGreaterThan(60_000);
  });

  test('a registration keeps a run in the schedule although its claim is released for ever', async () => {
    await watch(['a']);
    const process = processOn();
    const claim = await claimed(process);
    await process.expedite(['a']);
    await process.release(claim, 'never');
    expect(await dueIn('a')).toBeLessThanOrEqual(0);
  });

  test('a run that is being read is not deferred', async () => {
    await watch(['a']);
    const process = processOn();
    const from = (await requests.dueTimes(source, ['a']))[0]!;
    const claim = await claimed(process);
    await process.defer([{ runId: 'a', from, to: from + AN_HOUR }]);
    expect(await dueIn('a')).toBeNull();
    await commit(claim, 1_000);
    expect(await dueIn('a')).toBeLessThanOrEqual(1_000);
  });
});

describe('moved polls', () => {
  test('defer moves a poll only from the due time that was read', async () => {
    await watch(['a'], 5_000);
    const process = processOn();
    const from = (await requests.dueTimes(source, ['a']))[0]!;
    await process.defer([{ runId: 'a', from: from - 10, to: from + AN_HOUR }]);
    expect(await dueIn('a')).toBeLessThanOrEqual(5_000);
    await process.defer([{ runId: 'a', from, to: from + AN_HOUR }]);
    expect(await dueIn('a')).toBeGreaterThan(60_000);
    await process.defer([{ runId: 'a', from: from + AN_HOUR, to: from }]);
    expect(await dueIn('a')).toBeLessThanOrEqual(5_000);
  });

  test('expedite and defer ignore runs without a watch', async () => {
    const process = processOn();
    await process.expedite(['unknown']);
    expect(await process.survey()).toMatchObject({ members: 0, due: 0, nextMs: null });
  });

  test('a request that was claimed while the clock was ahead is due once its claim is released', async () => {
    await watch(['a'], -1_000);
    const process = processOn();
    const claim = await claimed(process);
    const ahead = `${claim.token} ${Date.now() + AN_HOUR} ${Date.now() + AN_HOUR} watch`;
    await redis.hset(keys.requestClaims(source), 'a', ahead);
    await process.moveBack({ ms: AN_HOUR, from: Date.now() });
    await process.release(claim, 'as before');
    expect(await dueIn('a')).toBeLessThanOrEqual(0);
  });

  test('moveBack moves due times from while the clock was ahead', async () => {
    await watch(['before'], 600_000);
    await watch(['meanwhile'], AN_HOUR + 2_000);
    await processOn().moveBack({ ms: AN_HOUR, from: Date.now() + AN_HOUR });
    expect(await dueIn('before')).toBeGreaterThan(300_000);
    expect(await dueIn('meanwhile')).toBeLessThanOrEqual(2_000);
  });
});

describe('survey of the schedule', () => {
  test('the survey counts due requests, returns the age of the oldest, and wakes slots', async () => {
    await watch(['later'], AN_HOUR);
    await watch(['a', 'b']);
    await delay(20);
    const process = processOn();
    const survey = await process.survey();
    expect(survey).toMatchObject({ members: 3, due: 2 });
    expect(survey.oldestMs).toBeGreaterThanOrEqual(19);
    expect(process.due).toEqual([0]);
  });

  test('the survey frees slots for what has been due for a while: a message of that may be lost', async () => {
    await watch(['a'], -1_000);
    const process = processOn();
    await process.survey();
    expect(process.due).toEqual(['free']);
  });

  test('the survey releases claims of this process that it does not hold', async () => {
    await watch(['a', 'b'], AN_HOUR);
    const process = processOn();
    const forgotten = `${process.id}.forgotten ${Date.now()} ${Date.now() + AN_HOUR} watch`;
    await redis.hset(keys.requestClaims(source), 'b', forgotten);
    expect(await process.survey()).toMatchObject({ claims: 1 });
    expect(await process.survey()).toMatchObject({ members: 2, claims: 0 });
    expect(await dueIn('b')).toBeLessThanOrEqual(0);
  });

  test('the claim of a list counts as no watch', async () => {
    await watch(['a', 'b'], AN_HOUR);
    const process = processOn();
    await process.enterFeed('list', [{ member: ' 0', withinMs: 0 }]);
    expect((await claimed(process)).member).toBe(' 0');
    expect(await process.countWatches()).toBe(2);
    expect(await process.survey()).toMatchObject({ members: 2 });
  });
});

const bodyOf = (id: string) =>
  JSON.stringify({ id, type: 'polling.overdue', data: { source: 'default' } });

test('overdue polls are noted with their event in one step, by the first process to notice', async () => {
  const event = (id: string) => ({
    id,
    body: bodyOf(id),
    deliveries: [newDelivery({ source, runId: '' }, { id, type: 'polling.overdue' }, 'ops', 0)],
  });
  const note = (isOverdue: boolean, id: string) =>
    requests.noteOverdue(source, isOverdue, event(`${id}-${source}`));
  expect(await note(false, 'never')).toBeNull();
  expect(await note(true, 'behind')).toEqual(['ops']);
  expect(await note(true, 'again')).toBeNull();
  expect(await note(false, 'caught-up')).not.toBeNull();
  const bodies = await Promise.all(
    ['never', 'behind', 'again', 'caught-up'].map((id) =>
      redis.hget(keys.event(`${id}-${source}`), 'body'),
    ),
  );
  expect(bodies.map((body) => body !== null)).toEqual([false, true, false, true]);
});

describe('active watches that are missing from the schedule', () => {
  test('repair enters missing watches at its first run, and where the counts differ', async () => {
    const schedules = new Map([[source, processOn()]]);
    const active = async function* () {
      yield ['a', 'b', 'c'].map((runId) => ({ source, runId }));
      yield [{ source: 'not configured', runId: 'd' }];
    };
    let walks = 0;
    const watchStore = {
      active: () => {
        walks += 1;
        return active();
      },
      countActive: async () => 4,
    };
    const log = collectLog();
    const process = testProcess({
      stores: { watches: watchStore },
      log: log as unknown as Logger,
    });
    const scheduleRepair = new ScheduleRepair(process, schedules);
    const repair = () => scheduleRepair.repair();
    const repaired = () => log.lines.map(({ active: all, missing }) => ({ active: all, missing }));
    await watch(['a', 'b', 'c']);
    await redis.zrem(keys.requestsDue(source)[REQUEST_KINDS.indexOf('watch')]!, 'a');
    await repair();
    expect(repaired()).toEqual([{ active: 4, missing: 1 }]);
    await repair();
    expect(walks).toBe(1);
    await redis.del(keys.requestsDue(source));
    await repair();
    expect(repaired().slice(1)).toEqual([{ active: 4, missing: 3 }]);
    expect(await claimedRuns(processOn(), 3)).toEqual(['a', 'b', 'c']);
  });
});
