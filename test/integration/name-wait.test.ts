import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { newDelivery, postponed } from '../../src/core/delivery/delivery.ts';
import { pause, resume } from '../../src/core/delivery/endpoint-state.ts';
import { NAME_WAIT_MS } from '../../src/core/delivery/name-wait.ts';
import type { SentEventType } from '../../src/core/event/event.ts';
import { newWatch } from '../support/builders.ts';
import { expectInvariants } from '../support/delivery-invariants.ts';
import { deliveryRig, type DeliveryRig } from '../support/delivery-rig.ts';
import { openStores } from '../support/stores.ts';

const FAILED: SentEventType = 'run.failed';
const LIMITS = { most: 2, rate: null, deadlineMs: 10_000 };

let rig: DeliveryRig;
/** Until when a name of a run is expected, by the clock of the rig. */
let expectedUntil: Map<string, number>;

function start(options: Parameters<typeof deliveryRig>[0] = {}): void {
  expectedUntil = new Map();
  const isNameExpected = (runId: string, at: number) => at < (expectedUntil.get(runId) ?? 0);
  rig = deliveryRig({ limits: LIMITS, isNameExpected, ...options });
}

afterEach(() => rig.close());

/** Plans the event of a new run, of which a name is expected for so many ms. */
async function plan(endpoint: string, expectedMs: number, types = [FAILED]): Promise<string> {
  const runId = rig.newRun();
  expectedUntil.set(runId, rig.now() + 1 + expectedMs);
  await rig.plan(runId, endpoint, types);
  return runId;
}

const sentTo = (endpoint: string) =>
  rig.sent.filter((one) => one.endpoint === endpoint).map(({ runId }) => runId);

const list = async () => (await rig.deliveries.list({}, { limit: 100 })).items;

/** How many events each message covers. */
const covered = () => rig.sent.map(({ others }) => 1 + others.length);

/** Advances the clock in steps, with a sweep after each, and says yes to every request. */
async function pass(ms: number, stepMs = 100): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await rig.advance(Math.min(stepMs, ms - passed));
    await rig.answerAll('ok');
  }
}

describe('a message that lacks a name', () => {
  test('is sent at once where none is expected, at the first check at which it is known, and after 2 s without it', async () => {
    start();
    const soon = await plan('people', 200);
    const late = await plan('people', 900);
    const never = await plan('people', Infinity);
    const none = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([none]);
    await pass(300);
    expect(sentTo('people')).toEqual([none, soon]);
    await pass(700);
    expect(sentTo('people')).toEqual([none, soon, late]);
    await pass(990);
    expect(sentTo('people')).toEqual([none, soon, late]);
    await pass(100);
    expect(sentTo('people')).toEqual([none, soon, late, never]);
  });

  test('holds up no webhook, and no slot of its endpoint', async () => {
    start();
    await plan('hook', Infinity);
    for (let at = 0; at < 5; at += 1) await plan('people', Infinity);
    const named = await plan('people', 0);
    await rig.answerAll('ok');
    expect([sentTo('hook').length, sentTo('people')]).toEqual([1, [named]]);
  });

  test('takes nothing of the pace of its endpoint', async () => {
    start({ limits: { ...LIMITS, rate: 1 } });
    for (let at = 0; at < 5; at += 1) await plan('people', Infinity);
    const named = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([named]);
    await rig.answerAll('ok');
    const next = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([named]);
    await pass(1_000);
    expect(sentTo('people')).toEqual([named, next]);
  });

  test('is followed by the next of its run, which waits behind it', async () => {
    start();
    const runId = await plan('people', 900, [FAILED, FAILED]);
    const other = await plan('people', 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([other]);
    await pass(1_000);
    expect(sentTo('people')).toEqual([other, runId, runId]);
    expect(rig.sent.map(({ eventId }) => eventId)).toEqual(['evt_3', 'evt_1', 'evt_2']);
  });

  test('waits as a whole where it covers several events, and is one once the names are known', async () => {
    start({ limits: { ...LIMITS, foldMost: 500 } });
    for (let at = 0; at < 6; at += 1) await plan('people', 200 + at);
    await rig.settle();
    expect(rig.sent).toEqual([]);
    await pass(330, 1);
    expect(covered()).toEqual([6]);
  });

  test('remains one where some names are known, and is sent 2 s after its first event without the other names', async () => {
    start({ limits: { ...LIMITS, most: 20, foldMost: 500 } });
    const first = rig.now() + 1;
    for (let at = 0; at < 12; at += 1) await plan('people', at % 2 === 0 ? 0 : Infinity);
    await rig.settle();
    await pass(1_980, 20);
    expect(rig.sent).toEqual([]);
    await pass(40, 1);
    expect(covered()).toEqual([12]);
    expect(rig.sent[0]?.at).toBe(first + NAME_WAIT_MS);
  });

  test('leaves an event that a user wants meanwhile to a message of its own, which does not wait', async () => {
    let wanted = async () => {};
    start({ limits: { ...LIMITS, foldMost: 500 }, whileNamed: () => wanted() });
    for (let at = 0; at < 6; at += 1) await plan('people', Infinity);
    const [{ id, runId } = { id: '', runId: '' }] = await list();
    wanted = async () => {
      wanted = async () => {};
      await rig.replay.one(id);
    };
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([runId]);
    await pass(2_200);
    expect(covered()).toEqual([1, 5]);
    expect(await rig.states((await list()).map((one) => one.id))).toEqual(
      Array.from({ length: 6 }, () => 'delivered'),
    );
  });

  test('holds up no delivery that was claimed in its place, where one of its events cannot be written', async () => {
    let wanted = async () => {};
    start({
      limits: { ...LIMITS, foldMost: 500 },
      whileNamed: () => wanted(),
      expectedFault: 'not written',
    });
    for (let at = 0; at < 6; at += 1) await plan('people', Infinity);
    const [{ id, runId } = { id: '', runId: '' }] = await list();
    let other = '';
    wanted = async () => {
      wanted = async () => {};
      await rig.replay.one(id);
      other = await plan('people', 0, ['run.completed']);
    };
    const withhold = jest.spyOn(rig.outbox, 'withhold');
    withhold.mockRejectedValueOnce(new Error('not written'));
    await rig.answerAll('ok');
    expect(withhold).toHaveBeenCalledTimes(1);
    expect(sentTo('people')).toEqual([other]);
    // What was not written is given back.
    await rig.tend('a');
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([other, runId]);
    await pass(2_200);
    expect(covered()).toEqual([1, 1, 5]);
  });

  test('is not checked again once it was attempted, nor where a user wants it', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.settle();
    const [id = ''] = (await list()).map((one) => one.id);
    await rig.replayMany([id]);
    await rig.settle();
    expect(sentTo('people')).toEqual([runId]);
    rig.open()[0]?.answer('fail');
    await rig.settle();
    await rig.advance(rig.retry[0] ?? 0);
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([runId, runId]);
    expect(await rig.states([id])).toEqual(['delivered']);
  });

  test('is sent once by another process where its own was killed in the wait', async () => {
    start();
    const runId = await plan('people', 500);
    await rig.settle();
    rig.kill('a');
    rig.startProcess('b');
    await rig.takeOver('b', 'a');
    await rig.advance(1_100);
    await rig.answerAll('ok', 'b');
    await rig.advance(5_000);
    await rig.answerAll('ok', 'b');
    expect(sentTo('people')).toEqual([runId]);
  });

  test('does not hold up the stop of its process, and is sent by the next', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.settle();
    await rig.stop('a');
    expect(rig.sent).toEqual([]);
    rig.startProcess('b');
    await rig.advance(NAME_WAIT_MS);
    await rig.answerAll('ok', 'b');
    expect(sentTo('people')).toEqual([runId]);
  });

  test('is not held up after a step forward of the clock was taken out', async () => {
    start();
    const runId = await plan('people', Infinity);
    await rig.advance(-3_600_000);
    await rig.retryAll('people');
    await rig.answerAll('ok');
    expect(sentTo('people')).toEqual([runId]);
  });
});

interface Given {
  endpoint: 'people' | 'hook';
  /** When the name is known, ms after the event; at or before 0 it was known before. */
  knownMs: number;
  fails: boolean;
  /** How long after the one before it comes, ms. */
  afterMs: number;
  killsBefore: boolean;
}

const given = fc.record<Given>({
  endpoint: fc.constantFrom('people', 'hook'),
  knownMs: fc.constantFrom(-1, 0, 250, 700, 1_500, Infinity),
  fails: fc.boolean(),
  afterMs: fc.constantFrom(0, 100, 400),
  killsBefore: fc.boolean(),
});

test('whenever names become known and processes die, each event is delivered once, webhooks at once, messages within 2 s, and as soon as a check finds the name', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(given, { minLength: 1, maxLength: 8 }), async (all) => {
      start({ limits: { ...LIMITS, most: 50 } });
      let process = 'a';
      const failing = new Set<string>();
      const answer = ({ runId }: { runId: string }) => (failing.delete(runId) ? 'fail' : 'ok');
      const turn = async (ms: number) => {
        for (let passed = 0; passed < ms; passed += 100) {
          await rig.advance(100);
          await rig.answerAll(answer, process);
        }
      };
      const planned: { runId: string; at: number; one: Given }[] = [];
      try {
        for (const one of all) {
          await turn(one.afterMs);
          if (one.killsBefore) {
            const dead = process;
            rig.kill(dead);
            process += 'a';
            rig.startProcess(process);
            await rig.takeOver(process, dead);
          }
          const runId = await plan(one.endpoint, one.knownMs);
          if (one.fails) failing.add(runId);
          planned.push({ runId, at: rig.now(), one });
          await rig.answerAll(answer, process);
        }
        await turn(NAME_WAIT_MS + 200);
        await rig.advance(rig.retry[0] ?? 0);
        await rig.answerAll(answer, process);
        for (const { runId, at, one } of planned) {
          const own = rig.sent.filter((sent) => sent.runId === runId);
          expect(own).toHaveLength(one.fails ? 2 : 1);
          const waitedMs = (own[0]?.at ?? Infinity) - at;
          const checks = one.endpoint === 'hook' || one.knownMs <= 0 ? [0] : [300, 1_000, 2_000];
          const due = checks.find((ms) => ms >= one.knownMs) ?? checks.at(-1) ?? 0;
          expect(waitedMs).toBeGreaterThanOrEqual(due);
          // The clock goes on by steps.
          expect(waitedMs).toBeLessThan(due + 100 + 2 * all.length);
        }
      } finally {
        await rig.close();
      }
    }),
    { numRuns: 15 },
  );
});

interface Burst {
  /** Of each event its type, and after how long the name is known, ms. */
  events: { type: 'run.failed' | 'run.completed'; knownMs: number }[];
  /** The endpoint is paused while the events come. */
  isPaused: boolean;
  /** When the process dies: before the first message is postponed, or while messages wait. */
  dies: 'never' | 'before a postponement' | 'in the wait';
}

const burst = fc.record<Burst>({
  events: fc.array(
    fc.record({
      type: fc.constantFrom('run.failed' as const, 'run.completed' as const),
      knownMs: fc.constantFrom(0, 200, 700, 1_500, Infinity),
    }),
    { minLength: 1, maxLength: 10 },
  ),
  isPaused: fc.boolean(),
  dies: fc.constantFrom('never', 'before a postponement', 'in the wait'),
});

test('whenever names become known and processes die, messages cover the events that they would cover without a wait', async () => {
  /** The events of each message. */
  async function messagesOf(bursts: readonly Burst[], areExpected: boolean) {
    let process = 'a';
    let diesNow = false;
    const die = () => {
      diesNow = false;
      rig.kill(process);
    };
    const whileNamed = () => {
      if (!diesNow) return Promise.resolve();
      die();
      return new Promise<void>(() => {});
    };
    const revive = async () => {
      const dead = process;
      process += 'a';
      rig.startProcess(process);
      await rig.takeOver(process, dead);
    };
    start({ limits: { ...LIMITS, foldMost: 500 }, whileNamed });
    try {
      for (const { events, isPaused, dies } of bursts) {
        if (isPaused) await rig.turn('people', pause);
        for (const { type, knownMs } of events) {
          await plan('people', areExpected ? knownMs : 0, [type]);
        }
        const ids = (await list()).map(({ id }) => id);
        await rig.answerAll('ok', process);
        if (isPaused) await rig.turn('people', resume);
        const mayDie = areExpected && dies !== 'never';
        diesNow = mayDie && dies === 'before a postponement';
        await rig.settle(process);
        if (diesNow || (mayDie && dies === 'in the wait')) die();
        if (mayDie) await revive();
        await rig.answerAll('ok', process);
        // To each check of the first event, and to those of the others.
        for (const ms of [300, 20, 680, 20, 980, 20, 80]) {
          await rig.advance(ms);
          await rig.answerAll('ok', process);
          await expectInvariants(rig, ids);
        }
      }
      expect(rig.open()).toEqual([]);
      // What a process had sent when it died is sent again.
      const messages = rig.sent.map(({ eventId, others }) =>
        [eventId, ...others].toSorted().join(),
      );
      return [...new Set(messages)].toSorted();
    } finally {
      await rig.close();
    }
  }
  await fc.assert(
    fc.asyncProperty(fc.array(burst, { minLength: 1, maxLength: 3 }), async (bursts) => {
      expect(await messagesOf(bursts, true)).toEqual(await messagesOf(bursts, false));
    }),
    { numRuns: 15 },
  );
});

test('the deliveries of a message that waits are due at one moment of the clock of the store', async () => {
  const stores = openStores();
  const { deliveries, keys, outbox, redis, watches } = stores;
  try {
    const limits = { ...LIMITS, foldMost: 500 };
    for (let at = 0; at < 200; at += 1) {
      const watch = newWatch({ runId: `run-${at}` });
      const event = { id: `evt_${at}`, type: FAILED };
      const planned = [newDelivery(watch, event, 'people', Date.now())];
      await watches.commit({ before: null, after: watch, events: [], deliveries: planned });
    }
    const pool = { pool: 'people', limits };
    const { claims } = await outbox.claim({ ...pool, most: 4, token: 'p.1', askedAt: 0 });
    expect(claims).toHaveLength(200);
    const now = Date.now();
    const [first, ...others] = claims.map(({ stored, token }) => {
      const after = postponed(stored.delivery, now + 300);
      return { before: stored, after, token, limits, now };
    });
    const { left, claims: next } = await outbox.postpone([first!, ...others]);
    expect([left, next]).toEqual([[], []]);
    const due = await redis.zrange(keys.due('people'), 0, '-1', 'WITHSCORES');
    expect(new Set(due.filter((_, at) => at % 2 === 1)).size).toBe(1);
    expect(due).toHaveLength(400);
    expect((await deliveries.counts()).byState.pending).toBe(200);
  } finally {
    await stores.close();
  }
});
