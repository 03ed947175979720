import { expect } from '@jest/globals';
import { DELIVERY_STATES, type Delivery } from '../../src/core/delivery/delivery.ts';
import { isOutstanding } from '../../src/core/delivery/state.ts';
import { claimRules } from '../../src/core/delivery/endpoint-state.ts';
import { poolOf, urlOf } from '../../src/core/delivery/receiver.ts';
import type { Slots } from '../../src/core/delivery/slots.ts';
import { countNumbers } from '../../src/redis/numbers.ts';
import type { DeliveryRig } from './delivery-rig.ts';

/** The store's view of all planned deliveries, read while nothing runs. */
async function readStore(rig: DeliveryRig, ids: string[]) {
  const { redis, keys, deliveries } = rig;
  const all = await deliveries.getMany(ids);
  const found = all.flatMap((stored) => (stored === null ? [] : [stored.delivery]));
  const receivers = [...new Set(found.map(({ endpoint }) => endpoint))];
  const pools = [...new Set(receivers.map(poolOf))];
  const members = (key: string) => redis.zrange(key, 0, '-1');
  const ofAll = async (names: string[], key: (name: string) => string) =>
    (await Promise.all(names.map((name) => members(key(name))))).flat();
  const orderings = [...new Set(found.map((delivery) => keys.ordering(delivery)))];
  return {
    found,
    due: await ofAll(receivers, keys.due),
    dueAt: (
      await Promise.all(
        receivers.map(async (name) => redis.zrange(keys.due(name), 0, '-1', 'WITHSCORES')),
      )
    ).flat(),
    settled: await members(keys.deliveriesSettled),
    parked: await ofAll(receivers, keys.parked),
    taken: await ofAll(pools, keys.taken),
    claimed: Object.keys(await redis.hgetall(keys.deliveryClaims)),
    poolsDue: await poolsDueBy(rig, pools, receivers),
    orderings: new Map(
      await Promise.all(
        orderings.map(async (key) => [key, await redis.lrange(key, 0, -1)] as const),
      ),
    ),
  };
}

/** When each pool is due at the latest, and its time in the due index. */
async function poolsDueBy(rig: DeliveryRig, pools: string[], receivers: string[]) {
  const { redis, keys, limits } = rig;
  return Promise.all(
    pools.map(async (pool) => {
      const lapses = await redis.zrange(keys.taken(pool), 0, '-1', 'WITHSCORES');
      const text = await redis.get(keys.slots(pool));
      const slots = text === null ? 4 : Math.floor((JSON.parse(text) as Slots).limit);
      const isFull = lapses.length / 2 >= Math.min(slots, limits.most);
      const held = parseFloat((await redis.get(keys.hold(pool))) ?? '0');
      const known = Number((await redis.zscore(keys.poolsDue, pool)) ?? Infinity);
      const own = receivers.filter((name) => poolOf(name) === pool);
      const next = await Promise.all(own.map((name) => nextAt(rig, name)));
      const possible = isFull ? Infinity : Math.max(Math.min(...next), held);
      return { at: Math.min(possible, Number(lapses[1] ?? Infinity)), known };
    }),
  );
}

/** When a delivery to a receiver could be claimed, given a slot. */
async function nextAt(rig: DeliveryRig, name: string): Promise<number> {
  const { redis, keys, limits } = rig;
  const [, due] = await redis.zrange(keys.due(name), 0, '0', 'WITHSCORES');
  const own = await redis.zcard(keys.taken(urlOf(name)));
  const isShared = poolOf(name) !== name;
  const [, pausedUntil = 0] = isShared
    ? await redis.zrange(keys.held(poolOf(name)), -1, '-1', 'WITHSCORES')
    : [];
  // A per-watch webhook gets half of the slots that it shares, and one while others are held back.
  const most = Number(pausedUntil) > rig.now() ? 1 : Math.max(1, Math.floor(limits.most / 2));
  if (own >= most && isShared) return Infinity;
  if (due === '0') return 0;
  const { from } = claimRules(await rig.state(name));
  const held = isShared ? await redis.zscore(keys.held(poolOf(name)), urlOf(name)) : null;
  return due === undefined ? Infinity : Math.max(Number(due), from, Number(held ?? 0));
}

/** The equation of conservation: planned is the sum of all states, by counters and by indexes. */
async function expectConservation(
  { redis, keys, deliveries }: DeliveryRig,
  found: Delivery[],
): Promise<void> {
  const { planned, byState } = await deliveries.counts();
  expect(planned).toBe(found.length);
  for (const state of DELIVERY_STATES) {
    const count = found.filter((delivery) => delivery.state === state).length;
    const indexed = await countNumbers(redis, keys.deliveries('state', state));
    expect([state, byState[state], indexed]).toEqual([state, count, count]);
  }
}

/**
 * The invariants between any two steps: each delivery is in the indexes that its state and ordering
 * key demand, and in no other.
 */
export async function expectInvariants(rig: DeliveryRig, ids: string[]): Promise<void> {
  const store = await readStore(rig, ids);
  await expectConservation(rig, store.found);
  const outstanding = store.found.filter(({ state }) => isOutstanding(state));
  const sorted = (members: string[]) => members.toSorted();
  const idsOf = (some: Delivery[]) => sorted(some.map(({ id }) => id));

  expect(sorted(store.settled)).toEqual(
    idsOf(store.found.filter(({ state }) => !isOutstanding(state))),
  );
  expect(sorted([...store.orderings.values()].flat())).toEqual(idsOf(outstanding));
  const parked = outstanding.filter(({ state }) => state === 'parked');
  expect(sorted(store.parked)).toEqual(idsOf(parked.filter(({ id }) => !store.taken.includes(id))));
  // Only the first delivery of an ordering key waits for its time or holds a slot, unless it is
  // parked.
  const heads = [...store.orderings.values()].flatMap(([head]) => head ?? []);
  const pending = new Map(
    outstanding.filter(({ state }) => state === 'pending').map((one) => [one.id, one]),
  );
  expect(sorted(store.claimed)).toEqual(sorted(store.taken));
  const parkedHeads = new Set(heads.filter((id) => store.parked.includes(id)));
  expect(sorted([...store.due, ...store.taken])).toEqual(
    sorted(heads.filter((id) => !parkedHeads.has(id))),
  );
  for (let at = 0; at < store.dueAt.length; at += 2) {
    const id = store.dueAt[at] ?? '';
    const { nextAttemptAt = null, urgent = false } = pending.get(id) ?? {};
    const isWanted = (await rig.redis.hexists(rig.keys.delivery(id), 'wish')) === 1;
    const isEarly = Number(store.dueAt[at + 1]) < (nextAttemptAt ?? Infinity);
    if (!rig.isRetried()) expect(isEarly && !urgent && !isWanted).toBe(false);
    // Past breaker, quiet and pace.
    if (urgent) expect([id, store.dueAt[at + 1]]).toEqual([id, '0']);
  }
  // A process that reads the due pools in time finds every waiting delivery, and every expired
  // lease.
  for (const { at, known } of store.poolsDue) expect(known).toBeLessThanOrEqual(at);
}

/** After all deliveries have ended only the records remain. */
export async function expectNothingLeft(rig: DeliveryRig): Promise<void> {
  const left = (await rig.keysLeft()).map((key) => key.replace(/^\{[^}]*\}:/, ''));
  const passing = /^(lane|due|parked|taken|waiting|probe|pools-|pool-|delivery-claims|replays)/;
  expect(left.filter((key) => passing.test(key))).toEqual([]);
}
