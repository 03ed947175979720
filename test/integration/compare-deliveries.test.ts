import { afterEach, describe, expect, test } from '@jest/globals';
import { pause, resume } from '../../src/core/delivery/endpoint-state.ts';
import { webhookReceiver } from '../../src/core/delivery/receiver.ts';
import { deliveryRig, type DeliveryRig } from '../support/delivery-rig.ts';

const DAY = 86_400_000;
const rigs: DeliveryRig[] = [];

afterEach(async () => {
  for (const one of rigs.splice(0)) {
    await one.redis.del(...(await one.keysLeft()), 'none');
    await one.close();
  }
});

function rigOf(): DeliveryRig {
  const rig = deliveryRig();
  rigs.push(rig);
  return rig;
}

const RECEIVERS = ['ops', webhookReceiver('https://hooks.example/a', 'default')];

/** Deletes every key whose name goes on like this behind the prefix. */
async function lose(rig: DeliveryRig, name: string): Promise<void> {
  const { queuePrefix } = rig.keys;
  const found = (await rig.keysLeft()).filter((key) => key.startsWith(`${queuePrefix}:${name}`));
  expect(found.length).toBeGreaterThan(0);
  await rig.redis.del(...found);
}

/** Compares all outstanding deliveries once more, when those without a record count as lost. */
async function compareLater(rig: DeliveryRig) {
  await compare(rig);
  await rig.advance(15_000);
  return compare(rig);
}

/** Compares all outstanding deliveries. */
async function compare(rig: DeliveryRig) {
  const { next, ...found } = await rig.outbox.compare(undefined, 1_000);
  expect(next).toBeNull();
  return found;
}

test('a comparison of deliveries that stand where they belong changes nothing', async () => {
  const rig = rigOf();
  const ids = await rig.plan(rig.newRun(), 'ops', ['run.resumed', 'run.failed']);
  await rig.settle();
  expect(await compare(rig)).toEqual({ placed: 0, lost: 0, pools: [] });
  await rig.answerAll('fail');
  expect(await compare(rig)).toEqual({ placed: 0, lost: 0, pools: [] });
  await rig.advance(5_000);
  await rig.answerAll('ok');
  expect(await rig.states(ids)).toEqual(['delivered', 'delivered']);
  expect(await compare(rig)).toEqual({ placed: 0, lost: 0, pools: [] });
});

test.each(RECEIVERS)(
  'a delivery without a record holds up no later one, at %s',
  async (receiver) => {
    const rig = rigOf();
    const run = rig.newRun();
    const [lost, next] = await rig.plan(run, receiver, ['run.resumed', 'run.failed']);
    await rig.redis.del(rig.keys.delivery(lost!));
    await rig.settle();
    expect(rig.sent).toEqual([]);
    expect(await compareLater(rig)).toMatchObject({ lost: 1 });
    await rig.answerAll('ok');
    expect(await rig.states([next!])).toEqual(['delivered']);
    const [later] = await rig.plan(run, receiver, ['run.completed']);
    await rig.answerAll('ok');
    expect(await rig.states([later!])).toEqual(['delivered']);
    expect(await rig.redis.hgetall(rig.keys.damage)).toEqual({ deliveries: '1' });
    expect(await compare(rig)).toMatchObject({ placed: 0, lost: 0 });
  },
);

test('a step that failed half-way and was taken again leaves no delivery that counts as lost', async () => {
  const rig = rigOf();
  const run = rig.newRun();
  await rig.plan(run, 'ops', ['run.failed']);
  // What the step wrote first, of a delivery that has another number by now.
  const pending = rig.keys.deliveries('state', 'pending');
  const held = await rig.redis.hget(pending, '0');
  await rig.redis.hset(pending, '0', `${held}${String.fromCharCode(99)}`);
  await rig.redis.hset(`${rig.keys.deliveryLog}0`, '99', '1');
  expect(await compareLater(rig)).toMatchObject({ lost: 0 });
  expect(await rig.redis.hget(pending, '0')).toBe(held);
  await rig.answerAll('ok');
  expect(await rig.redis.hgetall(rig.keys.damage)).toEqual({});
});

test('an order of which every record was lost lets later deliveries of its run through', async () => {
  const rig = rigOf();
  const run = rig.newRun();
  await rig.plan(run, 'ops', ['run.resumed', 'run.failed']);
  await lose(rig, 'delivery:');
  expect(await compareLater(rig)).toMatchObject({ placed: 0, lost: 2 });
  const [later] = await rig.plan(run, 'ops', ['run.completed']);
  expect(await compare(rig)).toMatchObject({ placed: 1, lost: 0 });
  await rig.answerAll('ok');
  expect(await rig.states([later!])).toEqual(['delivered']);
});

const PLACES = ['due:', 'lane:', 'pools-due'];

test.each(RECEIVERS.flatMap((receiver) => PLACES.map((name) => [name, receiver] as const)))(
  'deliveries go out after the keys %s were lost, at %s, in their order',
  async (name, receiver) => {
    const rig = rigOf();
    const ids = [
      ...(await rig.plan(rig.newRun(), receiver, ['run.resumed', 'run.failed'])),
      ...(await rig.plan(rig.newRun(), receiver, ['run.failed'])),
    ];
    await lose(rig, name);
    await compare(rig);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered', 'delivered', 'delivered']);
    const sent = rig.sent.map(({ deliveryId }) => deliveryId);
    expect(sent.indexOf(ids[0]!)).toBeLessThan(sent.indexOf(ids[1]!));
  },
);

test('webhooks go out after the due times of their origin were lost', async () => {
  const rig = rigOf();
  const ids = await rig.plan(rig.newRun(), RECEIVERS[1]!, ['run.failed']);
  await lose(rig, 'pool-due:');
  await compare(rig);
  await rig.answerAll('ok');
  expect(await rig.states(ids)).toEqual(['delivered']);
});

test('parked deliveries go out after the keys of what is parked were lost', async () => {
  const rig = rigOf();
  await rig.turn('ops', pause);
  const ids = await rig.plan(rig.newRun(), 'ops', ['run.failed']);
  await rig.settle();
  expect(await rig.states(ids)).toEqual(['parked']);
  await lose(rig, 'parked:');
  await compare(rig);
  await rig.turn('ops', resume);
  await rig.answerAll('ok');
  expect(await rig.states(ids)).toEqual(['delivered']);
});

test.each(RECEIVERS)(
  'a retry that is due a day later than it shows goes out when it shows, at %s',
  async (receiver) => {
    const rig = rigOf();
    const ids = await rig.plan(rig.newRun(), receiver, ['run.failed']);
    await rig.answerAll('fail');
    const due = rig.keys.due(receiver);
    await rig.redis.zincrby(due, DAY, ids[0]!);
    await rig.redis.zincrby(
      rig.keys.poolsDue,
      DAY,
      (await rig.redis.zrange(rig.keys.poolsDue, 0, '0'))[0]!,
    );
    expect(await compare(rig)).toMatchObject({ placed: 1, lost: 0 });
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['pending']);
    await rig.advance(5_000);
    await rig.answerAll('ok');
    expect(await rig.states(ids)).toEqual(['delivered']);
  },
);

/** Fails attempts until the breaker opens. @returns deliveries that are parked since, each of a run of its own */
async function parkBehindBreaker(rig: DeliveryRig, receiver: string): Promise<string[]> {
  const ids: string[] = [];
  for (let run = 0; run < 10; run += 1) {
    ids.push(...(await rig.plan(rig.newRun(), receiver, ['run.failed'])));
  }
  await rig.answerAll('fail');
  expect((await rig.state(receiver)).breaker).toBe('open');
  await rig.advance(5_000);
  await rig.settle();
  expect(new Set(await rig.states(ids))).toEqual(new Set(['parked']));
  const parked = await rig.redis.zrange(rig.keys.parked(receiver), 0, '-1');
  expect(parked).toHaveLength(ids.length);
  return parked;
}

describe.each(RECEIVERS)('behind an open breaker of %s', (receiver) => {
  test('what is parked goes out although the records of those before it were lost', async () => {
    const rig = rigOf();
    const parked = await parkBehindBreaker(rig, receiver);
    await rig.redis.del(...parked.slice(0, 3).map((id) => rig.keys.delivery(id)));
    await rig.advance(DAY);
    await rig.answerAll('ok');
    await rig.answerAll('ok');
    expect(new Set(await rig.states(parked.slice(3)))).toEqual(new Set(['delivered']));
  });

  test('what is parked goes out although the record of the delivery that probes was lost', async () => {
    const rig = rigOf();
    await parkBehindBreaker(rig, receiver);
    await rig.advance(DAY);
    await rig.settle();
    const [probe] = rig.open();
    const parked = await rig.redis.zrange(rig.keys.parked(receiver), 0, '-1');
    await rig.redis.del(rig.keys.delivery(probe!.deliveryId));
    await rig.answerAll('ok');
    await rig.answerAll('ok');
    expect(new Set(await rig.states(parked))).toEqual(new Set(['delivered']));
  });

  test('what is parked goes out although the state of its receiver was lost', async () => {
    const rig = rigOf();
    const parked = await parkBehindBreaker(rig, receiver);
    await rig.redis.del(rig.keys.endpointState(receiver));
    await rig.advance(DAY);
    await rig.answerAll('ok');
    await rig.answerAll('ok');
    expect(new Set(await rig.states(parked))).toEqual(new Set(['delivered']));
  });

  test('what is parked goes out although a process died and the record that it probed by was lost', async () => {
    const rig = rigOf();
    rig.startProcess('b');
    await parkBehindBreaker(rig, receiver);
    await rig.advance(DAY);
    await rig.settle();
    const [probe] = rig.open();
    await rig.redis.del(rig.keys.delivery(probe!.deliveryId));
    rig.kill('a');
    const parked = await rig.redis.zrange(rig.keys.parked(receiver), 0, '-1');
    await rig.advance(60_000);
    await rig.answerAll('ok', 'b');
    await compare(rig);
    await rig.answerAll('ok', 'b');
    await rig.answerAll('ok', 'b');
    expect(new Set(await rig.states(parked))).toEqual(new Set(['delivered']));
  });
});
