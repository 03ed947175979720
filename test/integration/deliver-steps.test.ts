import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { SentEventType } from '../../src/core/event/event.ts';
import { pause, resume } from '../../src/core/delivery/endpoint-state.ts';
import { poolOf, urlOf, webhookReceiver } from '../../src/core/delivery/receiver.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import type { Replay } from '../../src/deliver/replay.ts';
import { expectInvariants, expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig, type Answer, type DeliveryRig } from '../support/delivery-rig.ts';
import { waitFor } from '../support/wait-for.ts';

const DEADLINE_AND_GRACE = 20_000;
const rigs: DeliveryRig[] = [];

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((rig) => rig.close()));
});

function rigOf(options: Parameters<typeof deliveryRig>[0] = {}): DeliveryRig {
  const rig = deliveryRig(options);
  rigs.push(rig);
  return rig;
}

/** One delivery each of so many runs. */
async function planMany(rig: DeliveryRig, count: number, endpoint = 'ops'): Promise<string[]> {
  const ids: string[] = [];
  for (let run = 0; run < count; run += 1) {
    ids.push(...(await rig.plan(rig.newRun(), endpoint, ['run.failed'])));
  }
  return ids;
}

/** A webhook of the watches of a source. */
const hook = (path: string, source = 'default') =>
  webhookReceiver(`https://hooks.example/${path}`, source);

const openIds = (rig: DeliveryRig) => rig.open().map(({ deliveryId }) => deliveryId);

/** Fails so many attempts, each of a delivery of its own, that the breaker opens. */
async function openBreaker(rig: DeliveryRig, endpoint = 'ops'): Promise<string[]> {
  const ids = await planMany(rig, 10, endpoint);
  await rig.answerAll('fail');
  expect((await rig.state(endpoint)).breaker).toBe('open');
  return ids;
}

describe('a delivery', () => {
  test('a delivery is sent once, recorded, and leaves no keys behind', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 1);
    await rig.answerAll('ok');
    expect(await rig.get(ids[0]!)).toMatchObject({ state: 'delivered', attemptCount: 1 });
    expect(rig.sent).toHaveLength(1);
    await expectNothingLeft(rig);
  });

  test('a failed delivery is retried when it is due, not before', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 1);
    await rig.answerAll('fail');
    await rig.advance(4_900);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['pending']);
    await rig.advance(100);
    await rig.answerAll('ok');
    expect(await rig.get(ids[0]!)).toMatchObject({ state: 'delivered', attemptCount: 2 });
  });

  test('the next sweep finds a delivery that a process wrote before it died', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    const ids = await planMany(rig, 3);
    rig.kill('a');
    await rig.answerAll('ok', 'b');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered', 'delivered']);
  });
});

describe('slots of an endpoint', () => {
  test('slots bound concurrent attempts; the rest waits, longest due first', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 5);
    await rig.settle();
    expect(openIds(rig)).toEqual(ids.slice(0, 2));
    expect(await rig.redis.zrange(rig.keys.due('ops'), 0, '-1')).toEqual(ids.slice(2));
    rig.open()[0]?.answer('fail');
    await rig.settle();
    expect(openIds(rig)).toHaveLength(2);
    await rig.answerAll('ok');
    await rig.advance(5_000);
    await rig.answerAll('ok');
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });

  test('slots of an endpoint hold for all processes together', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    await planMany(rig, 2);
    await rig.settle('a');
    await planMany(rig, 4);
    await rig.settle('b');
    expect(rig.open()).toHaveLength(2);
    await rig.answerAll('ok', 'b');
    await expectNothingLeft(rig);
  });

  test('slots of a dead process are free once its leases expire', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    const held = await planMany(rig, 2);
    await rig.settle('a');
    const others = await planMany(rig, 2, 'ops');
    const more = await rig.plan('other', 'ops', ['run.failed']);
    await rig.settle('b');
    rig.kill('a');
    expect(rig.open()).toHaveLength(0);
    await rig.advance(DEADLINE_AND_GRACE - 100);
    await rig.settle('b');
    expect(rig.open()).toHaveLength(0);
    await rig.advance(100);
    await rig.answerAll('ok', 'b');
    expect(new Set(await rig.states([...held, ...others, ...more]))).toEqual(
      new Set(['delivered']),
    );
    await expectNothingLeft(rig);
  });

  test('a delivery that another process settled keeps no slot', async () => {
    const rig = rigOf({ limits: { most: 1 } });
    rig.startProcess('b');
    const ids = await planMany(rig, 1);
    await rig.settle('a');
    // The first process is held up for so long that its place lapses.
    await rig.advance(DEADLINE_AND_GRACE);
    await rig.settle('b');
    expect(rig.sent.map(({ process }) => process)).toEqual(['a', 'b']);
    rig.open()[1]?.answer('ok');
    await rig.settle('b');
    rig.open()[0]?.answer('fail');
    await rig.settle('b');
    expect(await rig.get(ids[0]!)).toMatchObject({ state: 'delivered', attemptCount: 1 });
    await expectNothingLeft(rig);
  });

  test('a late result without the current token writes nothing', async () => {
    const rig = rigOf({ limits: { most: 1 } });
    rig.startProcess('b');
    const [id = ''] = await planMany(rig, 1);
    await rig.settle('a');
    await rig.advance(DEADLINE_AND_GRACE);
    await rig.settle('b');
    rig.open()[0]?.answer('ok');
    await rig.settle('b');
    expect(await rig.get(id)).toMatchObject({ state: 'pending', attemptCount: 0 });
    expect(await rig.deliveries.attempts(id)).toEqual([]);
    expect(await rig.redis.zrange(rig.keys.taken('ops'), 0, '-1')).toEqual([id]);
    await rig.answerAll('ok', 'b');
    expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 1 });
    await expectNothingLeft(rig);
  });

  test('a claim is released unsent once half of its lease is over', async () => {
    // One attempt may be at work: the second waits for longer than its deadline, for the first to yield.
    const rig = rigOf({ permits: 1, limits: { deadlineMs: 200 } });
    const release = jest.spyOn(rig.outbox, 'release');
    const ids = await planMany(rig, 2);
    await rig.settle();
    const givenBack = release.mock.calls.flatMap(([, held]) => held.map(({ id }) => id));
    expect(givenBack).toEqual(ids.slice(1));
    // It was due again at once, and has been claimed anew.
    await rig.answerAll('ok');
    expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual(ids);
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered']);
    await expectNothingLeft(rig);
  });

  test('slots are filled at the rate of the endpoint', async () => {
    const rig = rigOf({ limits: { most: 4, rate: 2 } });
    const ids = await planMany(rig, 6);
    for (let half = 0; half < 6; half += 1) {
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(half + 1);
      await rig.advance(500);
    }
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });
});

describe('the relay of a process', () => {
  test('the relay keeps to its capacity, and continues by itself as slots become free', async () => {
    const rig = rigOf({ capacity: 3 });
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) ids.push(...(await planMany(rig, 2, `endpoint-${at}`)));
    await rig.settle();
    for (let left = ids.length; left > 0; left -= 1) {
      await waitFor(() => rig.open().length >= Math.min(3, left));
      expect(rig.open()).toHaveLength(Math.min(3, left));
      rig.open()[0]?.answer('ok');
    }
    await rig.quiesce();
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    await rig.settle();
    await expectNothingLeft(rig);
  });

  test('the relay does not repeat an attempt in progress, however long its result takes to write', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 1);
    await rig.settle();
    await rig.advance(DEADLINE_AND_GRACE);
    await rig.settle();
    expect(openIds(rig)).toEqual(ids);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(1);
    expect(await rig.states(ids)).toEqual(['delivered']);
    await expectNothingLeft(rig);
  });

  test('the relay sends a delivery redelivered by a user at once', async () => {
    const rig = rigOf({ retry: [] });
    const [id] = await planMany(rig, 1);
    await rig.answerAll('fail');
    await rig.replay.one(id!);
    await rig.quiesce();
    expect(openIds(rig)).toEqual([id]);
  });
});

describe('a delivery that a user wants while it is being attempted', () => {
  const LATER = 86_400_000;

  test.each<[string, (rig: DeliveryRig, id: string) => Promise<unknown>]>([
    ['redelivers it', (rig, id) => rig.replay.one(id)],
    ['redelivers its range', (rig, id) => rig.replayMany([id])],
    ['retries its endpoint', (rig) => rig.retryAll('ops')],
  ])('an attempt that fails is repeated at once where a user %s', async (_what, ask) => {
    const rig = rigOf({ retry: [LATER] });
    const [id = ''] = await planMany(rig, 1);
    await rig.settle();
    await ask(rig, id);
    expect(rig.sent).toHaveLength(1);
    rig.open()[0]?.answer('timeout');
    await rig.settle();
    expect(openIds(rig)).toEqual([id]);
    rig.open()[0]?.answer('ok');
    await rig.settle();
    expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 2 });
    await expectNothingLeft(rig);
  });

  test('a retry of an endpoint counts what is being attempted', async () => {
    const rig = rigOf({ retry: [LATER] });
    await planMany(rig, 3);
    await rig.settle();
    expect(await rig.retryAll('ops')).toBe(2);
  });

  test('an attempt that makes a delivery dead is repeated once for the user who wanted it', async () => {
    const rig = rigOf({ retry: [] });
    const [id = ''] = await planMany(rig, 1);
    await rig.settle();
    await rig.replay.one(id);
    await rig.answerAll('fail');
    expect(rig.sent).toHaveLength(2);
    expect(await rig.states([id])).toEqual(['dead']);
    await expectNothingLeft(rig);
  });

  test('an attempt that delivers is all that the user wanted', async () => {
    const rig = rigOf();
    const [id = ''] = await planMany(rig, 1);
    await rig.settle();
    await rig.replay.one(id);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(1);
    expect(await rig.redis.hexists(rig.keys.delivery(id), 'wish')).toBe(0);
    await expectNothingLeft(rig);
  });

  test('what a user wants outlives the process of the attempt', async () => {
    const rig = rigOf({ retry: [LATER] });
    const [id = ''] = await planMany(rig, 1);
    await rig.settle();
    await rig.replay.one(id);
    rig.kill('a');
    rig.startProcess('b');
    await rig.takeOver('b', 'a');
    await rig.settle('b');
    rig.open()[0]?.answer('fail');
    await rig.settle('b');
    await rig.answerAll('ok', 'b');
    expect(await rig.states([id])).toEqual(['delivered']);
    await expectNothingLeft(rig);
  });
});

describe('attempts that outlast their leases, since the store is away', () => {
  test.each([true, false])(
    'attempts under way during a long outage are not repeated, with a sweep after it: %s',
    async (isSwept) => {
      const rig = rigOf({ limits: { most: 4 } });
      const ids = await planMany(rig, 4);
      await rig.settle();
      let endOutage = () => {};
      const outage = new Promise<void>((resolve) => (endOutage = resolve));
      const record = rig.outbox.recordAttempt.bind(rig.outbox);
      const spy = jest.spyOn(rig.outbox, 'recordAttempt').mockImplementation(async (step) => {
        await outage;
        return record(step);
      });
      for (const one of rig.open()) one.answer('ok');
      await waitFor(() => spy.mock.calls.length === 4);
      await rig.advance(DEADLINE_AND_GRACE + 1_000);
      if (isSwept) {
        await rig.sweep();
        const [, lapse] = await waitFor(async () => {
          const first = await rig.redis.zrange(rig.keys.taken('ops'), 0, '0', 'WITHSCORES');
          return Number(first[1]) > rig.now() && first;
        });
        expect(Number(lapse)).toBeGreaterThan(rig.now());
      }
      endOutage();
      await rig.settle();
      expect(rig.sent).toHaveLength(4);
      for (const id of ids) {
        expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 1 });
      }
      await expectNothingLeft(rig);
    },
  );
});

describe('claims that the store has lost while attempts are in progress', () => {
  const RECEIVERS = ['ops', hook('a')];

  /** Begins the attempt of one delivery, and loses its claim. */
  async function attemptWithoutClaim(rig: DeliveryRig, receiver: string): Promise<string> {
    const [id = ''] = await planMany(rig, 1, receiver);
    await rig.settle();
    expect(await rig.redis.del(rig.keys.deliveryClaims)).toBe(1);
    return id;
  }

  test.each(RECEIVERS)(
    'a delivered delivery is not sent again when its lease is over, at %s',
    async (receiver) => {
      const rig = rigOf();
      const id = await attemptWithoutClaim(rig, receiver);
      await rig.answerAll('ok');
      await rig.advance(DEADLINE_AND_GRACE);
      await rig.answerAll('ok');
      expect(openIds(rig)).toEqual([]);
      expect(rig.sent).toHaveLength(1);
      expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 1 });
      await expectNothingLeft(rig);
    },
  );

  test.each(RECEIVERS)(
    'a failed delivery is retried at its time, also after its lease is over, at %s',
    async (receiver) => {
      const rig = rigOf({ retry: [3 * DEADLINE_AND_GRACE] });
      const id = await attemptWithoutClaim(rig, receiver);
      rig.open()[0]?.answer('fail');
      await rig.settle();
      await expectInvariants(rig, [id]);
      await rig.advance(DEADLINE_AND_GRACE);
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(1);
      await rig.advance(2 * DEADLINE_AND_GRACE);
      await rig.answerAll('ok');
      expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 2 });
      await expectNothingLeft(rig);
    },
  );

  test.each(RECEIVERS)('the slot is free once the result is written, at %s', async (receiver) => {
    const rig = rigOf({ limits: { most: 1 } });
    await attemptWithoutClaim(rig, receiver);
    const [next] = await planMany(rig, 1, receiver);
    rig.open()[0]?.answer('ok');
    await rig.settle();
    expect(openIds(rig)).toEqual([next]);
  });

  test.each(RECEIVERS)(
    'the slot of a delivery that has settled makes it due no more, at %s',
    async (receiver) => {
      const rig = rigOf({ limits: { most: 1 } });
      const [id = ''] = await planMany(rig, 1, receiver);
      await rig.answerAll('ok');
      // As an older version leaves it where its claim is lost.
      const lapse = rig.now() + DEADLINE_AND_GRACE;
      await rig.redis.zadd(rig.keys.taken(poolOf(receiver)), lapse, id);
      await rig.redis.zadd(rig.keys.taken(urlOf(receiver)), lapse, id);
      const [next = ''] = await planMany(rig, 1, receiver);
      await rig.settle();
      expect(openIds(rig)).toEqual([]);
      await rig.advance(DEADLINE_AND_GRACE);
      await rig.answerAll('ok');
      expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual([id, next]);
      expect(await rig.states([id, next])).toEqual(['delivered', 'delivered']);
      await expectNothingLeft(rig);
    },
  );
});

describe('a clock of the store that steps forward', () => {
  const DAY = 86_400_000;

  test.each(['ops', hook('a')])(
    'attempts that fail while it is ahead are made again when they show, at %s',
    async (receiver) => {
      const rig = rigOf({ retry: [5_000, 5_000] });
      const [early] = await planMany(rig, 1, receiver);
      await rig.settle();
      rig.stepClock(DAY);
      await rig.answerAll('fail');
      await rig.advance(4_000);
      const [last] = await planMany(rig, 1, receiver);
      await rig.answerAll('fail');
      await rig.advance(2_000);
      // The step is noticed after the time of one retry, and before that of the other.
      await rig.takeOutStep('a');
      await rig.answerAll('ok');
      expect(await rig.states([early!, last!])).toEqual(['delivered', 'pending']);
      await rig.advance(3_000);
      await rig.answerAll('ok');
      expect(await rig.states([last!])).toEqual(['delivered']);
    },
  );

  test('the pace of an endpoint goes on where a message went out while it was ahead', async () => {
    const rig = rigOf({ limits: { rate: 1 } });
    const ids = await planMany(rig, 4);
    await rig.answerAll('ok');
    rig.stepClock(DAY);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(2);
    await rig.takeOutStep('a');
    await expectInvariants(rig, ids);
    for (const count of [2, 3, 4]) {
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(count);
      await rig.advance(1_000);
    }
    await expectNothingLeft(rig);
  });

  test('webhooks of an origin that was paused while it was ahead go on when the pause is over', async () => {
    const rig = rigOf();
    const hooks = ['a', 'b', 'c'].map((path) => hook(path));
    for (const one of hooks) await planMany(rig, 1, one);
    await rig.settle();
    rig.stepClock(DAY);
    await rig.answerAll({ status: 429 });
    await rig.takeOutStep('a');
    await rig.advance(300_000);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(6);
    await expectNothingLeft(rig);
  });

  test.each(['ops', hook('a')])(
    'a breaker that opened while all clocks were ahead probes no later for it, at %s',
    async (receiver) => {
      const rig = rigOf();
      await rig.advance(DAY);
      await openBreaker(rig, receiver);
      await rig.takeOutLead('a', DAY);
      await rig.advance(29_000);
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(10);
      await rig.advance(1_000);
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(20);
      expect((await rig.state(receiver)).breaker).toBe('closed');
      await expectNothingLeft(rig);
    },
  );

  test.each(['ops', hook('a')])(
    'a pause that a receiver asked for while all clocks were ahead is no longer than it wanted, at %s',
    async (receiver) => {
      const rig = rigOf();
      await rig.advance(DAY);
      await planMany(rig, 1, receiver);
      await rig.answerAll({ retryAfterMs: 60_000 });
      await rig.takeOutLead('a', DAY);
      await rig.advance(59_000);
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(1);
      await rig.advance(7_000);
      await rig.answerAll('ok');
      expect(rig.sent).toHaveLength(2);
      await expectNothingLeft(rig);
    },
  );
});

describe('a receiver that answers with Retry-After', () => {
  test('Retry-After delays all deliveries of a receiver and costs no step of the schedule', async () => {
    const rig = rigOf({ limits: { most: 1 } });
    const ids = await planMany(rig, 3);
    await rig.settle();
    rig.open()[0]?.answer({ retryAfterMs: 60_000 });
    await rig.settle();
    await rig.advance(59_999);
    expect(rig.sent).toHaveLength(1);
    expect(await rig.get(ids[0]!)).toMatchObject({ state: 'pending', attemptCount: 1, step: 0 });
    await rig.advance(7_000);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(4);
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered', 'delivered']);
    await expectNothingLeft(rig);
  });

  test('an answer to an earlier request does not end the pause of Retry-After', async () => {
    const rig = rigOf();
    await planMany(rig, 3);
    await rig.settle();
    const [first, second] = rig.open();
    first?.answer({ retryAfterMs: 60_000 });
    await rig.quiesce();
    second?.answer('ok');
    await rig.quiesce();
    await rig.settle();
    await rig.advance(59_999);
    await rig.settle();
    expect(rig.sent).toHaveLength(2);
    await rig.advance(7_000);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(4);
  });

  test('Retry-After: 0 pauses the receiver for a second', async () => {
    const rig = rigOf();
    await planMany(rig, 1);
    await rig.settle();
    rig.open()[0]?.answer({ retryAfterMs: 0 });
    await rig.settle();
    await rig.advance(900);
    await rig.settle();
    expect(rig.sent).toHaveLength(1);
    await rig.advance(100);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(2);
  });

  /** Lets webhooks of one origin answer alike. @returns the ids of their deliveries */
  async function answerEach(rig: DeliveryRig, paths: string[], answer: Answer): Promise<string[]> {
    const ids: string[] = [];
    for (const path of paths) ids.push(...(await planMany(rig, 1, hook(path))));
    await rig.answerAll(answer);
    return ids;
  }

  test('Retry-After: 0 of three webhooks holds these back for a second, and no other of the origin', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    const ids = await answerEach(rig, ['a', 'b', 'c'], { retryAfterMs: 0 });
    const attempts = await Promise.all(ids.map(async (id) => (await rig.get(id)).attemptCount));
    expect(attempts).toEqual([1, 1, 1]);
    const [other = ''] = await planMany(rig, 1, hook('d'));
    await rig.advance(900);
    await rig.settle();
    expect(openIds(rig)).toEqual([other]);
    await rig.answerAll('ok');
    await rig.advance(200);
    await rig.answerAll('ok');
    expect(await rig.states([...ids, other])).toEqual(Array.from({ length: 4 }, () => 'delivered'));
    await expectNothingLeft(rig);
  });

  test('while three webhooks are held back, each other of their origin is sent one delivery at a time', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    await answerEach(rig, ['a', 'b', 'c'], 'timeout');
    const others = [...(await planMany(rig, 3, hook('d'))), ...(await planMany(rig, 3, hook('e')))];
    for (let round = 0; round < 3; round += 1) {
      await rig.settle();
      expect(
        rig
          .open()
          .map(({ endpoint }) => endpoint)
          .toSorted(),
      ).toEqual([hook('d'), hook('e')].toSorted());
      for (const one of rig.open()) one.answer('ok');
    }
    await rig.settle();
    expect(new Set(await rig.states(others))).toEqual(new Set(['delivered']));
    // Those that are held back have waited for their retry and for the end of the pause.
    await rig.advance(9_000);
    await rig.settle();
    expect(openIds(rig)).toEqual([]);
    await rig.advance(1_100);
    await rig.answerAll('ok');
    await expectNothingLeft(rig);
  });

  test('a webhook that times out during the pause of its origin is held back with the others', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    await answerEach(rig, ['a', 'b', 'c'], 'timeout');
    const [late = ''] = await answerEach(rig, ['d'], 'timeout');
    const [well = ''] = await answerEach(rig, ['e'], 'ok');
    expect(await rig.states([late, well])).toEqual(['pending', 'delivered']);
    await rig.advance(9_000);
    await rig.settle();
    expect(openIds(rig)).toEqual([]);
    await rig.advance(1_100);
    await rig.answerAll('ok');
    expect(await rig.states([late])).toEqual(['delivered']);
    await expectNothingLeft(rig);
  });
});

describe('webhooks of several sources at one URL', () => {
  const [mine, theirs] = [hook('shared', 'mine'), hook('shared', 'theirs')];

  test('failures of the deliveries of one source park none of another at the URL', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    const failed = await openBreaker(rig, theirs);
    const ids = await planMany(rig, 3, mine);
    await rig.answerAll(({ endpoint }) => (endpoint === mine ? 'ok' : 'fail'));
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    expect((await rig.state(mine)).breaker).toBe('closed');
    await rig.advance(30_000);
    await rig.answerAll('ok');
    expect(new Set(await rig.states(failed))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });

  test('a quiet that one source is asked for, and 410, concern its deliveries alone', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    await planMany(rig, 1, theirs);
    await rig.answerAll({ retryAfterMs: 60_000 });
    const ids = await planMany(rig, 1, mine);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered']);
    await rig.advance(60_000);
    await rig.answerAll('gone');
    expect((await rig.state(theirs)).disabled).not.toBeNull();
    expect((await rig.state(mine)).disabled).toBeNull();
  });

  test('they share the slots of the URL, and each goes on when the other has ended', async () => {
    const rig = rigOf({ limits: { most: 8 } });
    const first = await planMany(rig, 3, theirs);
    const ids = await planMany(rig, 2, mine);
    await rig.settle();
    // Half of the first four slots.
    expect(openIds(rig)).toEqual(first.slice(0, 2));
    rig.open()[0]?.answer('ok');
    await rig.settle();
    expect(rig.open()).toHaveLength(2);
    await rig.answerAll('ok');
    expect(new Set(await rig.states([...first, ...ids]))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });

  test.each([401, 403])('%i says nothing of the health of a webhook of watches', async (status) => {
    const rig = rigOf({ limits: { most: 8 } });
    const wrong = await planMany(rig, 12, mine);
    await rig.answerAll({ status });
    expect(await rig.state(mine)).toMatchObject({ breaker: 'closed', failures: 0 });
    const [right = ''] = await planMany(rig, 1, mine);
    await rig.settle();
    expect(openIds(rig)).toEqual([right]);
    await rig.answerAll('ok');
    expect(new Set(await rig.states(wrong))).toEqual(new Set(['pending']));
    expect(await rig.get(wrong[0] ?? '')).toMatchObject({ attemptCount: 1, last: { status } });
  });

  test('401 opens the breaker of a configured endpoint', async () => {
    const rig = rigOf();
    await planMany(rig, 10);
    await rig.answerAll({ status: 401 });
    expect((await rig.state('ops')).breaker).toBe('open');
  });
});

describe('the breaker', () => {
  test('an open breaker parks due deliveries and sends one probe at a time over two processes', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    const ids = await openBreaker(rig);
    await rig.advance(5_000);
    await rig.settle();
    expect(new Set(await rig.states(ids))).toEqual(new Set(['parked']));
    expect(await Promise.all(ids.map(async (id) => (await rig.get(id)).attemptCount))).toEqual(
      ids.map(() => 1),
    );
    await rig.advance(25_000);
    await rig.settle('a');
    expect(rig.open()).toHaveLength(1);
    await rig.plan('late-1', 'ops', ['run.failed']);
    await rig.plan('late-2', 'ops', ['run.failed']);
    await rig.settle('b');
    await rig.settle('b');
    expect(rig.open()).toHaveLength(1);
    rig.open()[0]?.answer('fail');
    await rig.settle();
    await rig.settle();
    expect(rig.open()).toHaveLength(0);
    expect(rig.endpointEvents.map(({ type }) => type)).toEqual(['endpoint.failing']);
  });

  test('a delivered probe closes the breaker, and the rest follows within the slots', async () => {
    const rig = rigOf({ limits: { most: 4 } });
    const failed = await openBreaker(rig);
    const parked = await planMany(rig, 60);
    await rig.settle();
    await rig.advance(30_000);
    await rig.settle();
    expect(rig.open()).toHaveLength(1);
    rig.open()[0]?.answer('ok');
    await rig.settle();
    expect((await rig.state('ops')).breaker).toBe('closed');
    expect(rig.open()).toHaveLength(4);
    await rig.answerAll('ok');
    expect(new Set(await rig.states([...failed, ...parked]))).toEqual(new Set(['delivered']));
    expect(rig.endpointEvents.map(({ type }) => type)).toEqual([
      'endpoint.failing',
      'endpoint.recovered',
    ]);
    await expectNothingLeft(rig);
  });

  test('the breaker makes another probe when the process of the last one has died', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    const ids = await openBreaker(rig);
    await rig.advance(30_000);
    await rig.settle('a');
    expect(rig.open()).toHaveLength(1);
    rig.kill('a');
    await rig.advance(DEADLINE_AND_GRACE);
    await rig.answerAll('ok', 'b');
    expect((await rig.state('ops')).breaker).toBe('closed');
    for (let round = 0; round < 3; round += 1) {
      await rig.answerAll('ok', 'b');
    }
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
  });
});

describe('a paused or disabled endpoint', () => {
  test('a paused endpoint keeps its deliveries until it is resumed', async () => {
    const rig = rigOf();
    await rig.turn('ops', pause);
    const ids = await planMany(rig, 3);
    await rig.settle();
    await rig.advance(86_400_000);
    await rig.settle();
    expect(rig.sent).toHaveLength(0);
    expect(await rig.states(ids)).toEqual(['parked', 'parked', 'parked']);
    await rig.turn('ops', resume);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered', 'delivered']);
    await expectNothingLeft(rig);
  });

  test('a paused endpoint keeps the order of deliveries that waited already', async () => {
    const rig = rigOf({ limits: { most: 1 } });
    const ids = await planMany(rig, 4);
    await rig.settle();
    await rig.turn('ops', pause);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'parked', 'parked', 'parked']);
    await rig.turn('ops', resume);
    await rig.answerAll('ok');
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });

  test('410 disables an endpoint: later deliveries are skipped, and can be redelivered after it is resumed', async () => {
    const rig = rigOf({ limits: { most: 1 } });
    const ids = await planMany(rig, 3);
    await rig.answerAll('gone');
    expect(await rig.states(ids)).toEqual(['dead', 'skipped', 'skipped']);
    expect(rig.sent).toHaveLength(1);
    expect(rig.endpointEvents.map(({ type }) => type)).toEqual([
      'endpoint.disabled',
      'delivery.exhausted',
    ]);
    await rig.replay.one(ids[1]!);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['dead', 'skipped', 'skipped']);
    await rig.turn('ops', resume);
    await rig.replayMany(ids);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered', 'delivered']);
    await expectNothingLeft(rig);
  });

  test('disabling an endpoint skips its parked deliveries', async () => {
    const rig = rigOf();
    await rig.turn('ops', pause);
    const ids = await planMany(rig, 3);
    await rig.settle();
    await rig.turn('ops', (state) => ({ ...state, disabled: { reason: 'failing', at: 0 } }));
    await rig.settle();
    expect(await rig.states(ids)).toEqual(['skipped', 'skipped', 'skipped']);
    await expectNothingLeft(rig);
  });
});

describe('the deliveries of one run to one endpoint', () => {
  const TYPES: SentEventType[] = ['run.started', 'run.progress', 'run.completed'];

  test('deliveries of one run to one endpoint keep their order through retries, parking and release', async () => {
    const rig = rigOf();
    const ids = await rig.plan('run', 'ops', TYPES);
    await rig.answerAll('fail');
    await rig.turn('ops', pause);
    await rig.advance(5_000);
    await rig.settle();
    expect(await rig.states(ids)).toEqual(['parked', 'pending', 'pending']);
    await rig.turn('ops', resume);
    await rig.answerAll('ok');
    expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual([ids[0], ...ids]);
    await expectNothingLeft(rig);
  });

  test('a delivery is sent after an earlier one of its run is dead', async () => {
    const rig = rigOf({ retry: [] });
    const ids = await rig.plan('run', 'ops', TYPES);
    await rig.answerAll(({ deliveryId }) => (deliveryId === ids[0] ? 'fail' : 'ok'));
    expect(await rig.states(ids)).toEqual(['dead', 'delivered', 'delivered']);
  });

  test('redelivered deliveries of a run are sent after its outstanding ones', async () => {
    const rig = rigOf();
    const [first] = await rig.plan('run', 'ops', ['run.started']);
    await rig.answerAll('ok');
    const [second] = await rig.plan('run', 'ops', ['run.completed']);
    await rig.settle();
    await rig.replay.one(first!);
    await rig.settle();
    expect(openIds(rig)).toEqual([second]);
    await rig.answerAll('ok');
    expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual([first, second, first]);
  });

  test('what a user wants goes past a quiet once its turn in the order of its run has come', async () => {
    const rig = rigOf();
    const [, wanted = ''] = await rig.plan('run', 'ops', ['run.started', 'run.completed']);
    await planMany(rig, 1);
    await rig.settle();
    await rig.replay.one(wanted);
    const [first, other] = rig.open();
    other?.answer({ retryAfterMs: 60_000 });
    await rig.quiesce();
    first?.answer('ok');
    await rig.settle();
    expect(openIds(rig)).toEqual([wanted]);
  });

  test('a delayed notice is superseded once its run has moved on, a fresh one is sent', async () => {
    let overtaken = false;
    const rig = rigOf({
      isOvertaken: ({ eventType }) => overtaken && eventType === 'run.awaiting_human_feedback',
    });
    const [fresh] = await rig.plan('one', 'ops', ['run.awaiting_human_feedback']);
    overtaken = true;
    await rig.answerAll('ok');
    expect(await rig.states([fresh!])).toEqual(['delivered']);
    await rig.turn('ops', pause);
    const ids = await rig.plan('two', 'ops', ['run.awaiting_human_feedback', 'run.completed']);
    await rig.settle();
    await rig.turn('ops', resume);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['superseded', 'delivered']);
    await rig.replay.one(ids[0]!);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered']);
    await expectNothingLeft(rig);
  });
});

describe('redelivering one delivery', () => {
  test('redelivery sends the same event, restarts the schedule, and may be repeated', async () => {
    const rig = rigOf({ retry: [5_000] });
    const [id] = await planMany(rig, 1);
    await rig.answerAll('fail');
    await rig.advance(5_000);
    await rig.answerAll('fail');
    expect(await rig.get(id!)).toMatchObject({ state: 'dead', attemptCount: 2 });
    const asked = await Promise.all([rig.replay.one(id!), rig.replay.one(id!)]);
    expect(asked).toEqual([id, id]);
    await rig.answerAll('fail');
    expect(await rig.get(id!)).toMatchObject({ state: 'pending', attemptCount: 3, step: 1 });
    await rig.advance(5_000);
    await rig.answerAll('ok');
    expect(new Set(rig.sent.map(({ eventId }) => eventId)).size).toBe(1);
    expect(rig.sent).toHaveLength(4);
    expect(await rig.replay.one('dlv_unknown')).toBeNull();
    await expectNothingLeft(rig);
  });

  test.each<[string, (replay: Replay, id: string) => Promise<unknown>]>([
    ['one', (replay, id) => replay.one(id)],
    ['a range', (replay) => replay.replayRequested(new AbortController().signal)],
  ])(
    'redelivery of %s does not repeat the delivery before it that arrives just then',
    async (what, redeliver) => {
      const rig = rigOf();
      const [first = '', second = ''] = await rig.plan('run', 'ops', ['run.started', 'run.failed']);
      await rig.settle();
      if (what === 'a range') await rig.requestReplays([second]);
      const disturbed = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
        async firstInOrder(delivery: Parameters<typeof rig.outbox.firstInOrder>[0]) {
          const found = await rig.outbox.firstInOrder(delivery);
          rig
            .open()
            .find(({ deliveryId }) => deliveryId === first)
            ?.answer('ok');
          await rig.quiesce();
          return found;
        },
      });
      await redeliver(rig.replayOver(disturbed), second);
      await rig.answerAll('ok');
      expect(await rig.states([first, second])).toEqual(['delivered', 'delivered']);
      expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual([first, second]);
      await expectNothingLeft(rig);
    },
  );
});

describe('redelivering to another endpoint', () => {
  test('a delivery that is there already is sent, though an attempt of it ends just then', async () => {
    const rig = rigOf({ retry: [3_600_000] });
    const [id] = await planMany(rig, 1);
    await rig.answerAll('fail');
    const there = await rig.replay.one(id!, 'audit');
    await rig.answerAll('fail');
    let isFirst = true;
    const disturbed = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
      requeue: async (step: Parameters<typeof rig.outbox.requeue>[0]) => {
        if (isFirst) {
          isFirst = false;
          await rig.advance(3_600_000);
          await rig.answerAll('fail');
        }
        return rig.outbox.requeue(step);
      },
    });
    await rig.replayOver(disturbed).one(id!, 'audit');
    await rig.answerAll('ok');
    expect(await rig.get(there!)).toMatchObject({ state: 'delivered', attemptCount: 3 });
  });
});

describe('redelivery of a delivery that arrives just then', () => {
  /** Redelivers over a store in which the attempts that are under way succeed right before the step. */
  function replayAsItArrives(rig: DeliveryRig): Replay {
    const { outbox } = rig;
    const disturbed = Object.assign(Object.create(outbox) as typeof outbox, {
      async requeue(step: Parameters<typeof outbox.requeue>[0]) {
        for (const one of rig.open()) one.answer('ok');
        await rig.quiesce();
        return outbox.requeue(step);
      },
    });
    return rig.replayOver(disturbed);
  }

  test('a delivery that waited when its redelivery was asked for is not sent again', async () => {
    const rig = rigOf();
    const [id = ''] = await planMany(rig, 1);
    await rig.settle();
    expect(await replayAsItArrives(rig).one(id)).toBe(id);
    await rig.answerAll('ok');
    expect(await rig.get(id)).toMatchObject({ state: 'delivered', attemptCount: 1 });
    await expectNothingLeft(rig);
  });

  test('a delivery that waited at the endpoint that it was to go to is not sent again', async () => {
    const rig = rigOf();
    const [id = ''] = await planMany(rig, 1);
    await rig.answerAll('ok');
    const there = (await rig.replay.one(id, 'audit')) ?? '';
    await rig.settle();
    expect(await replayAsItArrives(rig).one(id, 'audit')).toBe(there);
    await rig.answerAll('ok');
    expect(await rig.get(there)).toMatchObject({ state: 'delivered', attemptCount: 1 });
    await expectNothingLeft(rig);
  });
});

describe('redelivering a range', () => {
  const going = new AbortController().signal;

  test('redelivery of a range makes waiting deliveries due at once, and keeps their schedule', async () => {
    const rig = rigOf({ retry: [3_600_000, 3_600_000] });
    const ids = await planMany(rig, 1);
    await rig.answerAll('fail');
    await rig.replayMany(ids);
    await rig.answerAll('fail');
    expect(rig.sent).toHaveLength(2);
    expect(await rig.get(ids[0]!)).toMatchObject({ state: 'pending', attemptCount: 2, step: 2 });
    await rig.replayMany(ids);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered']);
    await expectNothingLeft(rig);
  });

  test('redelivery of a range sends what is parked, once its endpoint takes it', async () => {
    const rig = rigOf();
    await rig.turn('ops', pause);
    const ids = await planMany(rig, 2);
    await rig.settle();
    expect(await rig.states(ids)).toEqual(['parked', 'parked']);
    await rig.replayMany(ids);
    await rig.settle();
    expect(await rig.states(ids)).toEqual(['parked', 'parked']);
    await rig.turn('ops', resume);
    await rig.replayMany(ids);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered']);
    expect(rig.sent).toHaveLength(2);
    await expectNothingLeft(rig);
  });

  test('redelivery of a range does not pass an open breaker', async () => {
    const rig = rigOf();
    const ids = await openBreaker(rig);
    const sent = rig.sent.length;
    await rig.replayMany(ids);
    await rig.settle();
    expect(rig.sent).toHaveLength(sent);
    expect(new Set(await rig.states(ids))).toEqual(new Set(['parked']));
  });

  test('redelivery of a range makes the first of an order due that a waiting delivery is behind', async () => {
    const rig = rigOf({ retry: [3_600_000] });
    const [first = '', second = ''] = await rig.plan('run', 'ops', ['run.started', 'run.failed']);
    await rig.answerAll('fail');
    await rig.replayMany([second]);
    await rig.answerAll('ok');
    expect(await rig.states([first, second])).toEqual(['delivered', 'delivered']);
    expect(rig.sent.map(({ deliveryId }) => deliveryId)).toEqual([first, first, second]);
  });

  test('redelivery of a range does not repeat an attempt in progress', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 1);
    await rig.settle();
    await rig.replayMany(ids);
    await rig.answerAll('ok');
    expect(rig.sent).toHaveLength(1);
  });

  test.each([
    ['to where they went', undefined],
    ['to another endpoint', 'log'],
  ])('two processes redeliver a range once %s', async (_, to) => {
    const rig = rigOf({ autoAnswer: () => 'ok' });
    const ids = await planMany(rig, 3);
    await rig.settle();
    await rig.requestReplays(ids, to);
    const slow = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
      async endReplays(requests: Parameters<typeof rig.outbox.endReplays>[0]) {
        // The chunk has gone out before it is taken off the requests.
        await rig.settle();
        await rig.replayOver(rig.outbox).replayRequested(going);
        await rig.settle();
        await rig.outbox.endReplays(requests);
      },
    });
    await rig.replayOver(slow).replayRequested(going);
    await rig.settle();
    expect(rig.sent).toHaveLength(6);
    await expectNothingLeft(rig);
  });

  test.each([
    ['to where they went', undefined],
    ['to another endpoint', 'log'],
  ])('a range that a process dies in is redelivered once %s', async (_, to) => {
    const rig = rigOf({ autoAnswer: () => 'ok' });
    const ids = await planMany(rig, 3);
    await rig.settle();
    await rig.requestReplays(ids, to);
    const dying = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
      endReplays: () => Promise.reject(new Error('it dies')),
    });
    await expect(rig.replayOver(dying).replayRequested(going)).rejects.toThrow('it dies');
    await rig.settle();
    expect(rig.sent).toHaveLength(6);
    await rig.replay.replayRequested(going);
    await rig.settle();
    expect(rig.sent).toHaveLength(6);
    await expectNothingLeft(rig);
  });

  test.each(['withhold', 'add'] as const)(
    'a waiting delivery of a range goes elsewhere alone where a process dies in %s',
    async (step) => {
      const rig = rigOf();
      const [id = ''] = await planMany(rig, 1);
      await rig.requestReplays([id], 'log');
      const dying = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
        [step]: () => Promise.reject(new Error('it dies')),
      });
      await expect(rig.replayOver(dying).replayRequested(going)).rejects.toThrow('it dies');
      await rig.replay.replayRequested(going);
      await rig.answerAll('ok');
      expect(rig.sent.map(({ endpoint }) => endpoint)).toEqual(['log']);
      expect(await rig.states([id])).toEqual(['superseded']);
      await expectNothingLeft(rig);
    },
  );

  test('a stopping process leaves the rest of a range to the next one', async () => {
    const rig = rigOf({ autoAnswer: () => 'ok' });
    const ids = await planMany(rig, 120);
    await rig.settle();
    await rig.requestReplays(ids);
    const stopping = new AbortController();
    const stopsSoon = Object.assign(Object.create(rig.outbox) as typeof rig.outbox, {
      async endReplays(requests: Parameters<typeof rig.outbox.endReplays>[0]) {
        stopping.abort();
        await rig.outbox.endReplays(requests);
      },
    });
    await rig.replayOver(stopsSoon).replayRequested(stopping.signal);
    expect(await rig.outbox.nextReplays(1_000)).toHaveLength(20);
    await rig.replay.replayRequested(going);
    await rig.settle();
    expect(rig.sent).toHaveLength(240);
  });

  test('a range that a dead process claimed is redelivered once its claims are taken over', async () => {
    const rig = rigOf({ autoAnswer: () => 'ok' });
    const ids = await planMany(rig, 1);
    await rig.settle();
    await rig.requestReplays(ids);
    await rig.outbox.replayLease.take('dead.1', 60_000);
    await rig.replay.replayRequested(going);
    expect(await rig.outbox.nextReplays(10)).toHaveLength(1);
    await rig.takeOver('a', 'dead');
    await rig.replay.replayRequested(going);
    await rig.settle();
    expect(rig.sent).toHaveLength(2);
  });
});

describe('redelivering to another endpoint', () => {
  test('redelivery to another endpoint supersedes waiting deliveries, and keeps the order of the run', async () => {
    const rig = rigOf({ serves: (pool) => pool !== 'old' });
    const ids = await rig.plan('run', 'old', ['run.started', 'run.progress', 'run.failed']);
    await rig.settle();
    expect(rig.sent).toHaveLength(0);
    await rig.replayMany(ids, 'ops');
    await rig.answerAll('ok');
    const events = (await Promise.all(ids.map((id) => rig.get(id)))).map(({ eventId }) => eventId);
    expect(rig.sent.map(({ eventId, endpoint }) => [eventId, endpoint])).toEqual(
      events.map((id) => [id, 'ops']),
    );
    expect(new Set(await rig.states(ids))).toEqual(new Set(['superseded']));
    await expectNothingLeft(rig);
  });

  test('redelivery to another endpoint keeps settled deliveries, and repeats those it had already', async () => {
    const rig = rigOf();
    const [id = ''] = await planMany(rig, 1);
    await rig.answerAll('gone');
    const there = await rig.replay.one(id, 'log');
    await rig.answerAll('ok');
    expect(await rig.replay.one(id, 'log')).toBe(there);
    await rig.answerAll('ok');
    expect(await rig.states([id, there ?? ''])).toEqual(['dead', 'delivered']);
    expect(rig.sent.map(({ endpoint }) => endpoint)).toEqual(['ops', 'log', 'log']);
    expect(await rig.replay.one('dlv_none', 'log')).toBeNull();
    await expectNothingLeft(rig);
  });

  test("redelivery of a range to another endpoint leaves and does not count what is that endpoint's own", async () => {
    const rig = rigOf({ retry: [] });
    const [there = ''] = await rig.plan('run', 'log', ['run.failed']);
    const [here = ''] = await rig.plan('other-run', 'ops', ['run.failed']);
    await rig.answerAll('fail');
    expect(await rig.replay.request({ to: 'log' })).toBe(1);
    await rig.replay.replayRequested(new AbortController().signal);
    await rig.answerAll('ok');
    expect(await rig.states([there, here])).toEqual(['dead', 'dead']);
    expect(rig.sent.map(({ endpoint }) => endpoint)).toEqual(['log', 'ops', 'log']);
    await expectNothingLeft(rig);
  });

  test('redelivery to another endpoint does not wait for an attempt in progress', async () => {
    const rig = rigOf();
    const ids = await planMany(rig, 1);
    await rig.settle();
    await rig.replay.one(ids[0] ?? '', 'log');
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered']);
    expect(rig.sent.map(({ endpoint }) => endpoint)).toEqual(['ops', 'log']);
  });
});

describe('events about endpoints', () => {
  test("an event about an endpoint goes to the operators' endpoint, about that one to the log alone", async () => {
    const rig = rigOf({ operatorEndpoint: 'pager' });
    await openBreaker(rig, 'ops');
    await rig.answerAll('ok');
    const told = rig.sent.find(({ endpoint }) => endpoint === 'pager');
    expect(JSON.parse((await rig.events.body(told!.eventId))!)).toMatchObject({
      id: told!.eventId,
      type: 'endpoint.failing',
      data: { endpoint: 'ops' },
    });
    await openBreaker(rig, 'pager');
    await rig.settle();
    expect(rig.endpointEvents.map(({ type, about }) => [type, about])).toEqual([
      ['endpoint.failing', 'ops'],
      ['endpoint.failing', 'pager'],
    ]);
    const { items } = await rig.deliveries.list({ endpoint: 'pager' }, { limit: 100 });
    expect(items.filter(({ eventType }) => eventType.startsWith('endpoint.'))).toHaveLength(1);
  });
});

describe('internal faults', () => {
  const sealed = new RunwatchError(
    'the secret was sealed with a key that this daemon does not have',
    {
      code: 'sealed_by_unknown_key',
    },
  );

  test.each([
    ['sealed_by_unknown_key', { routeOf: () => Promise.reject(sealed) }],
    ['endpoint_unknown', { routeOf: async () => null }],
    ['internal', { routeOf: () => Promise.reject(new RangeError('info is too long')) }],
    ['event_missing', { isForgotten: true }],
    [
      'internal',
      {
        routeOf: async () => ({
          channel: { send: () => Promise.reject(new TypeError('a defect')) },
          retry: [5_000],
        }),
      },
    ],
  ])(
    "internal fault %s ends in a dead letter, does not touch the endpoint's state, and can be replayed",
    async (code, broken) => {
      let isBroken = true;
      const rig = rigOf({
        retry: [5_000],
        routeOf: async (_delivery, route) =>
          isBroken && 'routeOf' in broken ? broken.routeOf() : route,
        isForgotten: () => isBroken && 'isForgotten' in broken,
      });
      const ids = await planMany(rig, 12);
      await rig.settle();
      await rig.advance(5_000);
      await rig.settle();
      const dead = await rig.get(ids[0]!);
      expect([dead.state, dead.last?.error?.code]).toEqual(['dead', code]);
      expect(new Set(await rig.states(ids))).toEqual(new Set(['dead']));
      expect(await rig.state('ops')).toMatchObject({
        breaker: 'closed',
        disabled: null,
        failingSince: null,
      });
      expect(rig.endpointEvents.map(({ type }) => type)).toEqual(['delivery.exhausted']);
      isBroken = false;
      await rig.replayMany(ids);
      await rig.answerAll('ok');
      expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
      await expectNothingLeft(rig);
    },
  );
});
