import { afterEach, describe, expect, test } from '@jest/globals';
import { FOLD_MOST } from '../../src/core/delivery/fold.ts';
import { pause, resume } from '../../src/core/delivery/endpoint-state.ts';
import type { SentEventType } from '../../src/core/event/event.ts';
import { expectInvariants, expectNothingLeft } from '../support/delivery-invariants.ts';
import { deliveryRig, type DeliveryRig, type Sent } from '../support/delivery-rig.ts';

const releasers: (() => Promise<void>)[] = [];

afterEach(async () => {
  await Promise.all(releasers.splice(0).map((release) => release()));
});

/** A rig with an endpoint that folds, at one message a second. */
function foldingRig(options: Parameters<typeof deliveryRig>[0] = {}): DeliveryRig {
  const limits = { most: 4, rate: 1, foldMost: FOLD_MOST, ...options.limits };
  const rig = deliveryRig({ ...options, limits });
  releasers.push(rig.close);
  return rig;
}

async function planMany(rig: DeliveryRig, count: number, type: SentEventType = 'run.failed') {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) ids.push(...(await rig.plan(rig.newRun(), 'chat', [type])));
  return ids;
}

const covered = ({ others }: Sent) => others.length + 1;

describe('a backlog of events of one type', () => {
  test('a backlog becomes one message, which is the attempt of each delivery', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 20);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([20]);
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    for (const id of ids) expect(await rig.deliveries.attempts(id)).toHaveLength(1);
    const { byState, planned } = await rig.deliveries.counts();
    expect([byState.delivered, planned]).toEqual([20, 20]);
    await expectNothingLeft(rig);
  });

  test('three waiting events are three messages, four are one', async () => {
    const rig = foldingRig({ limits: { rate: null } });
    await planMany(rig, 3);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([1, 1, 1]);
    await planMany(rig, 4);
    await rig.answerAll('ok');
    expect(rig.sent.slice(3).map(covered)).toEqual([4]);
  });

  test('a folded message covers at most 500 events', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, FOLD_MOST + 10);
    await rig.answerAll('ok');
    await rig.advance(1_000);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([FOLD_MOST, 10]);
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
    await expectNothingLeft(rig);
  });

  test('a folded message covers one type of events, and no event is sent twice', async () => {
    const rig = foldingRig({ limits: { rate: null } });
    await planMany(rig, 5, 'run.failed');
    await planMany(rig, 6, 'run.completed');
    await planMany(rig, 2, 'run.stopped');
    await rig.answerAll('ok');
    expect(rig.sent.map(covered).toSorted((a, b) => a - b)).toEqual([1, 1, 5, 6]);
    const events = rig.sent.flatMap(({ eventId, others }) => [eventId, ...others]);
    expect(new Set(events).size).toBe(13);
    await expectNothingLeft(rig);
  });

  test('a folded message covers only the first delivery of each ordering key', async () => {
    const rig = foldingRig();
    const ids: string[] = [];
    for (let at = 0; at < 5; at += 1) {
      const types: SentEventType[] = ['run.failed', 'run.failed'];
      ids.push(...(await rig.plan(rig.newRun(), 'chat', types)));
    }
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([5]);
    await rig.advance(1_000);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([5, 5]);
    await expectNothingLeft(rig);
    await expectInvariants(rig, ids);
    expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
  });

  test('what a user wants takes one slot for a message of its own, also where it waited for its turn', async () => {
    const rig = foldingRig({ limits: { most: 2, rate: null } });
    const [, wanted = ''] = await rig.plan('run', 'chat', ['run.started', 'run.failed']);
    const [other] = await planMany(rig, 1);
    await rig.settle();
    await planMany(rig, 3);
    await rig.replay.one(wanted);
    rig.open()[0]?.answer('ok');
    await rig.settle();
    expect(rig.open().map(({ deliveryId }) => deliveryId)).toEqual([other, wanted]);
  });

  test('an endpoint that does not fold sends every event by itself', async () => {
    const rig = deliveryRig({ limits: { most: 4 } });
    releasers.push(rig.close);
    await planMany(rig, 10);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual(Array.from({ length: 10 }, () => 1));
  });
});

describe('a message about several events that fails', () => {
  test('a failed folded message fails each of its deliveries, and the retry covers them again', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 10);
    await rig.answerAll('fail');
    expect(await rig.get(ids[3] ?? '')).toMatchObject({ state: 'pending', attemptCount: 1 });
    await rig.advance(5_000);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([10, 10]);
    expect(await rig.get(ids[3] ?? '')).toMatchObject({ state: 'delivered', attemptCount: 2 });
    await expectNothingLeft(rig);
  });

  test('a failed message counts once for the health of its endpoint', async () => {
    const rig = foldingRig();
    await planMany(rig, 50);
    await rig.answerAll('fail');
    const { breaker, failures } = await rig.state('chat');
    expect([breaker, failures]).toEqual(['closed', 1]);
  });

  test('a message that is answered with a wish for quiet costs none of its deliveries a step', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 10);
    await rig.answerAll({ retryAfterMs: 30_000 });
    expect(await rig.get(ids[9] ?? '')).toMatchObject({ attemptCount: 1, step: 0 });
    await rig.advance(31_000);
    await rig.answerAll('ok');
    expect(rig.sent.map(covered)).toEqual([10, 10]);
    await expectNothingLeft(rig);
  });
});

describe('a message about several events that is rejected', () => {
  /** Answers by what a message covers: one about a refused event is rejected. */
  const refusing = (refused: ReadonlySet<string>) => (sent: Sent) =>
    [sent.eventId, ...sent.others].some((id) => refused.has(id)) ? 'reject' : 'ok';

  /** Answers all messages, and lets time pass, until nothing waits any more. */
  async function drain(rig: DeliveryRig, ids: string[], refused: ReadonlySet<string>) {
    let rounds = 0;
    while ((await rig.states(ids)).some((state) => state === 'pending' || state === 'parked')) {
      if ((rounds += 1) > 1_000) throw new Error('the messages do not end');
      await rig.answerAll(refusing(refused));
      await expectInvariants(rig, ids);
      await rig.advance(60_000);
    }
  }

  async function refusedOf(rig: DeliveryRig, ids: string[], places: readonly number[]) {
    const found = await Promise.all(places.map((at) => rig.get(ids[at] ?? '')));
    return new Set(found.map(({ eventId }) => eventId));
  }

  test.each([
    [8, [2]],
    [4, [0]],
    [60, [59]],
    [60, [0, 30]],
    [100, [7, 8, 9, 10]],
  ])('of %i folded events all but the refused ones %j are delivered', async (count, places) => {
    const rig = foldingRig();
    const ids = await planMany(rig, count);
    const refused = await refusedOf(rig, ids, places);
    await drain(rig, ids, refused);
    const states = ids.map((_, at) => (places.includes(at) ? 'dead' : 'delivered'));
    expect(await rig.states(ids)).toEqual(states);
    // Each half of a rejected message is a message of its own, down to the few that go alone.
    const depth = Math.ceil(Math.log2(count));
    expect(rig.sent.length).toBeLessThanOrEqual(places.length * (2 * depth + 2) + 1);
    for (const id of ids) {
      const { attemptCount } = await rig.get(id);
      expect(await rig.deliveries.attempts(id)).toHaveLength(attemptCount);
      expect(attemptCount).toBeLessThanOrEqual(depth + 1);
    }
    await expectNothingLeft(rig);
  });

  test('a receiver that refuses every event gets a bounded number of messages', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 40);
    await drain(rig, ids, await refusedOf(rig, ids, [...ids.keys()]));
    expect(new Set(await rig.states(ids))).toEqual(new Set(['dead']));
    expect(rig.sent.length).toBeLessThanOrEqual(2 * ids.length);
    await expectNothingLeft(rig);
  });

  test('a rejected message about several events costs its deliveries no step', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 8);
    await rig.settle();
    rig.open()[0]?.answer('reject');
    await rig.settle();
    const shown = { state: 'pending', attemptCount: 1, step: 0, last: { status: 400 } };
    for (const id of ids) expect(await rig.get(id)).toMatchObject(shown);
  });

  test('a bulk redelivery sends what was rejected alone, and kills no other', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 20);
    const refused = await refusedOf(rig, ids, [4]);
    await drain(rig, ids, refused);
    const before = rig.sent.length;
    await rig.replayMany(ids);
    await drain(rig, ids, refused);
    expect(await rig.states(ids)).toEqual(ids.map((_, at) => (at === 4 ? 'dead' : 'delivered')));
    const again = rig.sent.slice(before);
    expect(again.filter((sent) => refusing(refused)(sent) === 'reject').map(covered)).toEqual([1]);
    await expectNothingLeft(rig);
  });

  test('halves of a rejected message remain apart from other events after a retry and a kill', async () => {
    const rig = foldingRig();
    const ids = await planMany(rig, 16);
    const refused = await refusedOf(rig, ids, [3]);
    await rig.answerAll((sent) => (covered(sent) === 16 ? 'reject' : 'fail'));
    await rig.advance(1_000);
    await rig.answerAll('fail');
    const more = await planMany(rig, 10);
    rig.kill('a');
    rig.startProcess('b');
    rig.startProcess('a');
    await rig.advance(5_000);
    await drain(rig, [...ids, ...more], refused);
    const sizes = rig.sent.filter(({ others }) => others.length > 0).map(covered);
    expect(sizes.toSorted((a, b) => a - b)).toEqual([4, 4, 8, 8, 8, 10, 16]);
    expect(await rig.states([...ids, ...more])).toEqual(
      [...ids, ...more].map((_, at) => (at === 3 ? 'dead' : 'delivered')),
    );
    await expectNothingLeft(rig);
  });
});

test('a process that is killed between its message and the results has it sent once more', async () => {
  const rig = foldingRig();
  const ids = await planMany(rig, 30);
  await rig.settle();
  rig.kill('a');
  rig.startProcess('b');
  await rig.takeOver('b', 'a');
  await rig.advance(1_000);
  await rig.answerAll('ok', 'b');
  expect(rig.sent.map(covered)).toEqual([30, 30]);
  expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
  await expectNothingLeft(rig);
});

test('a delivery of a past message that is sent again is a message of its own', async () => {
  const rig = foldingRig();
  const ids = await planMany(rig, 10);
  await rig.answerAll('ok');
  await rig.advance(1_000);
  await rig.replay.one(ids[4] ?? '');
  await rig.answerAll('ok');
  expect(rig.sent.map(covered)).toEqual([10, 1]);
});

test('deliveries that waited at a paused endpoint are folded once it is resumed', async () => {
  const rig = foldingRig();
  await rig.turn('chat', pause);
  const ids = await planMany(rig, 12);
  await rig.settle();
  expect(new Set(await rig.states(ids))).toEqual(new Set(['parked']));
  await rig.turn('chat', resume);
  await rig.advance(1_000);
  await rig.answerAll('ok');
  expect(rig.sent.map(covered)).toEqual([12]);
  await expectNothingLeft(rig);
});

test('a folded message leaves out a superseded delivery', async () => {
  const overtaken = new Set<string>();
  const rig = foldingRig({ isOvertaken: ({ id }) => overtaken.has(id) });
  const ids = await planMany(rig, 6, 'run.awaiting_human_feedback');
  for (const id of [ids[0], ids[3]]) overtaken.add(id ?? '');
  await rig.advance(10_000);
  await rig.answerAll('ok');
  expect(rig.sent.map(covered)).toEqual([4]);
  expect(await rig.states(ids)).toEqual([
    'superseded',
    'delivered',
    'delivered',
    'superseded',
    'delivered',
    'delivered',
  ]);
  await expectNothingLeft(rig);
});

test('deliveries that are due again before the last result of their message is written are sent again', async () => {
  const rig = foldingRig({ limits: { most: 2, rate: null, foldMost: 8 } });
  const ids = await planMany(rig, 11);
  await rig.settle();
  // A user wants them again while two messages are under way.
  await rig.replayMany(ids);
  await rig.settle();
  for (const one of rig.open()) one.answer('fail');
  await rig.settle();
  await rig.answerAll('ok');
  await rig.advance(60_000);
  await rig.answerAll('ok');
  expect(new Set(await rig.states(ids))).toEqual(new Set(['delivered']));
  await expectNothingLeft(rig);
});
