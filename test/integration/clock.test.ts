import { afterAll, afterEach, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { sum } from '../../src/core/arrays.ts';
import { REQUEST_KINDS } from '../../src/core/source/request-order.ts';
import { needlessLead, type ClockStep } from '../../src/core/clock.ts';
import { configSchema } from '../../src/config/schema.ts';
import { Clock, refuseSkew } from '../../src/daemon/clock.ts';
import { Batches } from '../../src/batches/batches.ts';
import { batchOf } from '../../src/core/batch.ts';
import { Poller } from '../../src/source/poller.ts';
import { endWatch } from '../../src/watches/end.ts';
import { registerWatches } from '../../src/watches/register.ts';
import { newWatch } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { testRedis } from '../support/redis.ts';
import { closeConnection, openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const place = testRedis();
const stores = openStores(place);
afterEach(() => stores.redis.del(stores.keys.clock, stores.keys.clockSteps));
afterAll(() => stores.close());

/** A process on a host with a clock that is off by so much. */
function processOn({ aheadMs }: { aheadMs: number }) {
  let ahead = aheadMs;
  let skipped = 0;
  let reads = 0;
  const skews: number[] = [];
  const lines: { msg: string }[] = [];
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const monotonic = () => performance.now() - skipped;
  const clock = new Clock(
    {
      read: () => ((reads += 1), stores.clock.read()),
      takeOut: (...step) => stores.clock.takeOut(...step),
      openSteps: () => stores.clock.openSteps(),
      closeStep: (number) => stores.clock.closeStep(number),
    },
    { wall: () => Date.now() + ahead, monotonic, uptime: monotonic },
    log,
    (skewMs) => skews.push(skewMs),
  );
  return {
    clock,
    skews,
    messages: () => lines.map(({ msg }) => msg),
    reads: () => reads,
    set: (byMs: number) => (ahead += byMs),
    /** As if the store's clock, and all others, had been set forward. */
    storeSetForward: (byMs: number) => (skipped += byMs),
  };
}

const offBy = (now: number) => Math.abs(now - Date.now());

test('processes on hosts with clocks five minutes apart agree on the time, and log the skew once', async () => {
  const hosts = [300_000, -300_000, 0].map((aheadMs) => processOn({ aheadMs }));
  for (const { clock } of hosts) await clock.measure();
  for (const { clock } of hosts) {
    expect(offBy(clock.now())).toBeLessThan(30_000);
    await clock.measure();
  }
  expect(hosts.map(({ messages }) => messages())).toEqual([['clock.skewed'], ['clock.skewed'], []]);
  expect(hosts[0]?.skews.at(-1)).toBeGreaterThan(270_000);
});

test('a clock that is set is measured at once, and the time does not jump', async () => {
  const host = processOn({ aheadMs: 0 });
  await host.clock.measure();
  host.set(-300_000);
  expect(offBy(host.clock.now())).toBeLessThan(30_000);
  expect(offBy(host.clock.now())).toBeLessThan(30_000);
  await waitFor(() => host.messages().includes('clock.skewed'));
  expect(host.reads()).toBe(2);
  host.set(300_000);
  await host.clock.measure();
  expect(host.messages()).toEqual(['clock.skewed', 'clock.in_step']);
});

test('a process does not follow a step forward of the clock of Redis', async () => {
  const host = processOn({ aheadMs: 0 });
  const moved: number[] = [];
  host.clock.onStepTakenOut(async ({ ms }) => void moved.push(ms));
  await host.clock.measure();
  const before = host.clock.now();
  host.storeSetForward(300_000);
  await host.clock.measure();
  expect(Math.abs(host.clock.now() - (before - 300_000))).toBeLessThan(30_000);
  expect(moved).toEqual([expect.closeTo(300_000, -4)]);
});

test('a process finishes the step forward that another process removed before it died', async () => {
  const [dead, alive] = [processOn({ aheadMs: 0 }), processOn({ aheadMs: 0 })];
  dead.clock.onStepTakenOut(() => Promise.reject(new Error('killed')));
  const moved: number[] = [];
  alive.clock.onStepTakenOut(async ({ ms }) => void moved.push(ms));
  for (const { clock } of [dead, alive]) await clock.measure();
  dead.storeSetForward(300_000);
  await expect(dead.clock.measure()).rejects.toThrow('killed');
  // The other process may be at it still.
  await alive.clock.measure();
  expect(moved).toEqual([]);
  await alive.clock.measure();
  await alive.clock.measure();
  expect(moved).toEqual([expect.closeTo(300_000, -4)]);
});

/** The same to every script as another time of Redis. */
const SET_TIME = `
local offset, highest, steps = string.match(redis.call('GET', KEYS[1]), '^(-?%d+) (%d+) (%d+)$')
redis.call('SET', KEYS[1], string.format('%.0f %s %s', offset + ARGV[1], highest, steps))
`;

test('a batch whose last run ends while the clock of Redis is a step ahead completes once that is removed', async () => {
  const { redis, keys, batches } = stores;
  const { clock } = processOn({ aheadMs: 0 });
  const process = testProcess({ stores, clock, now: clock.now });
  const judging = new Batches(process);
  judging.start();
  await clock.measure();
  const name = batchOf(undefined, 'nightly');
  const runs = ['a', 'b'].map((runId) => ({ source: 'default', runId }));
  const [closed, open] = runs.map((one) => ({ ...one, subscriptions: [], batch: name }));
  const requests = [
    { ...closed!, closesBatch: true },
    { ...open!, batch: { ...name, name: 'open' } },
  ];
  await registerWatches({ process, sourceOf: () => undefined }, requests);
  await redis.eval(SET_TIME, 1, keys.clock, 3_600_000);
  for (const one of runs) await endWatch(process, one);
  const marked = clock.now() + 1_800_000;
  expect(await redis.zcount(keys.batchesDue, marked, '+inf')).toBe(1);
  expect(await redis.zcount(keys.batchesIdle, marked, '+inf')).toBe(2);
  await clock.measure();
  await waitFor(async () => (await batches.named([name]))[0]?.batch.state === 'completed');
  const idle = await batches.idle(clock.now() + 1_000, 10);
  expect(idle.map(({ batch }) => batch.name)).toEqual(['open']);
  await judging.stop();
});

test('the time since which a batch has no active run goes back with a clock that had long been ahead', async () => {
  const { redis, keys, batches, clock } = stores;
  const lead = { ms: 7_200_000, isLead: true };
  await redis.set(keys.clock, `${lead.ms} ${Date.now() + lead.ms} 0`);
  const { now, steps } = await clock.read();
  const number = await clock.takeOut(lead, steps);
  const step = (await clock.openSteps()).get(number)!;
  const present = (await clock.read()).now;
  await redis.zadd(keys.batchesIdle, now - 1_800_000, 'since', present - 60_000, 'since then');
  for (const _ of ['once', 'again']) await batches.moveBack(step);
  const times = await redis.zmscore(keys.batchesIdle, 'since', 'since then');
  expect(times.map(Number)).toEqual([now - 1_800_000 - lead.ms, present - 60_000]);
});

test('a store clock that its host has left ahead is set back where this host agrees', async () => {
  const aheadMs = 7_200_000;
  await stores.redis.set(stores.keys.clock, `${aheadMs} ${Date.now() + aheadMs} 0`);
  const wrong = processOn({ aheadMs: 300_000 });
  await wrong.clock.measure();
  expect(offBy(wrong.clock.now())).toBeGreaterThan(aheadMs / 2);
  const right = processOn({ aheadMs: 0 });
  const moved: number[] = [];
  right.clock.onStepTakenOut(async ({ ms }) => void moved.push(ms));
  // A host that stood still while it read does not agree.
  await waitFor(async () => {
    await right.clock.measure();
    return moved.length > 0;
  });
  expect(offBy(right.clock.now())).toBeLessThan(30_000);
  expect(moved).toEqual([expect.closeTo(aheadMs, -4)]);
});

test('a lead that is taken out before anything can move back is moved by once it can', async () => {
  const aheadMs = 7_200_000;
  const { redis, keys, clock: stored } = stores;
  await redis.set(keys.clock, `${aheadMs} ${Date.now() + aheadMs} 0`);
  const starting = processOn({ aheadMs: 0 });
  // A host that stood still while it read does not agree.
  await waitFor(async () => {
    await starting.clock.measure();
    return offBy(starting.clock.now()) < 30_000;
  });
  expect((await stored.openSteps()).size).toBe(1);
  const moved: number[] = [];
  starting.clock.onStepTakenOut(async ({ ms }) => void moved.push(ms));
  for (const _ of ['seen open', 'still open', 'closed']) await starting.clock.measure();
  expect(moved).toEqual([expect.closeTo(aheadMs, -4)]);
  const logged = starting.messages().filter((msg) => msg === 'clock.set_forward');
  expect(logged).toHaveLength(1);
  expect((await stored.openSteps()).size).toBe(0);
});

test('a request that was overdue by a clock that had long been ahead remains due', async () => {
  const { redis, keys, requests, clock } = stores;
  const lead = { ms: 7_200_000, isLead: true };
  await redis.set(keys.clock, `${lead.ms} ${Date.now() + lead.ms} 0`);
  const { now, steps } = await clock.read();
  const number = await clock.takeOut(lead, steps);
  const step = (await clock.openSteps()).get(number)!;
  const dueSet = keys.requestsDue('moved')[REQUEST_KINDS.indexOf('watch')] ?? '';
  await redis.zadd(dueSet, now - 3_000, 'overdue', now + 9_000, 'later');
  await requests.moveBack('moved', step);
  const times = await requests.dueTimes('moved', ['overdue', 'later']);
  expect(times).toEqual([now - 3_000 - lead.ms, now + 9_000 - lead.ms]);
});

test('a source that was closed while the clock was ahead is probed when its pause is over', async () => {
  let aheadMs = 7_200_000;
  const { redis, keys, watches, sources } = stores;
  await redis.set(keys.clock, `${aheadMs} ${Date.now() + aheadMs} 0`);
  const config = configSchema.parse({
    data_dir: '/nowhere',
    sources: { paused: { base_url: 'https://backend.noxus.ai', api_key: 'nox' } },
  });
  const log = pino({ level: 'silent' });
  const now = () => Date.now() + aheadMs;
  const blocking = new Redis(place.url, { maxRetriesPerRequest: null });
  const connections = { commands: redis, blocking };
  const poller = new Poller(testProcess({ config, stores, connections, log, now }));
  const { schedule, throttle } = poller.sourceOf('paused')!;
  const after = newWatch({ source: 'paused', timeoutAt: now() + aheadMs });
  const enters = { does: 'enter', withinMs: 0, kind: 'watch' } as const;
  const change = { before: null, after, events: [], deliveries: [], samples: [], schedule: enters };
  await watches.commitMany([change]);
  const limited = { kind: 'rate_limited', retryAfterMs: 1_000, message: 'status 429' } as const;
  await throttle.note(limited, throttle.asks());
  const before = (await sources.read('paused')).state!.closed!;
  expect((await schedule.claim(1)).next.is).toBe('paused');

  const right = processOn({ aheadMs: 0 });
  let step: ClockStep | null = null;
  right.clock.onStepTakenOut(async (taken) => {
    [step, aheadMs] = [taken, 0];
    await poller.work.moveBack(taken);
  });
  await waitFor(async () => {
    await right.clock.measure();
    return step;
  });
  const { ms } = step!;
  expect((await sources.read('paused')).state?.closed).toEqual({
    ...before,
    at: before.at - ms,
    probeAt: before.probeAt - ms,
  });
  const probe = await waitFor(async () => (await schedule.claim(1)).claims[0], {
    timeoutMs: 30_000,
  });
  expect(probe.failedProbes).toBe(0);
  await poller.stop({ force: true, withinMs: 1_000 });
  await closeConnection(blocking);
});

test('a lead of the store clock is needless only where its host and this one agree', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 1e8 }),
      fc.integer({ min: -1e8, max: 1e8 }),
      (lead, off) => {
        const taken = needlessLead({ now: 1e12 + lead, offsetMs: lead }, 1e12 + off);
        expect(taken).toBe(lead >= 30_000 && Math.abs(off) <= 2_000 ? lead : 0);
      },
    ),
  );
});

test('the limit of requests holds in its window whatever steps are taken out of the clock', async () => {
  const limit = { requests: 5, perMs: 600_000 };
  const { redis, keys, budgets, clock } = stores;
  let sources = 0;
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.constant('admit' as const) },
    { weight: 1, arbitrary: fc.constant('settle' as const) },
    { weight: 1, arbitrary: fc.integer({ min: 1_001, max: 86_400_000 }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 8, maxLength: 25 }), async (actions) => {
      const source = `stepped-${(sources += 1)}`;
      await redis.hset(keys.sourceNames, source, 0);
      const aheadMs = sum(actions.filter((one) => typeof one === 'number'));
      await redis.set(keys.clock, `${aheadMs} ${Date.now() + aheadMs} 0`);
      let admitted = 0;
      for (const [at, one] of actions.entries()) {
        const request = { request: `r-${at}`, limit };
        if (one === 'admit') {
          if ((await budgets.admit(source, request)) !== null) admitted += 1;
        } else if (one === 'settle') {
          await budgets.settle(source, { request: `r-${at - 1}`, limit });
        } else {
          await clock.takeOut({ ms: one, isLead: true }, (await clock.read()).steps);
        }
        expect(admitted).toBeLessThanOrEqual(limit.requests);
      }
    }),
    { numRuns: 30 },
  );
});

test('a clock that is half a minute off is refused if so configured', () => {
  expect(() => refuseSkew(29_000)).not.toThrow();
  expect(() => refuseSkew(-30_000)).toThrow(/30 s behind that of Redis/);
});
