import { expect } from '@jest/globals';
import { DELIVERY_STATES, isOutstanding, type Delivery } from '../../src/core/delivery.ts';
import type { DeliveryRig } from './delivery-rig.ts';

/** What the store says of everything that was planned, read at a moment when nothing runs. */
async function readStore(rig: DeliveryRig, ids: string[]) {
  const { redis, keys, deliveries } = rig;
  const all = await deliveries.getMany(ids);
  const found = all.flatMap((stored) => (stored === null ? [] : [stored.delivery]));
  const gates = [...new Set(found.map(({ endpoint }) => endpoint))];
  const members = (key: string) => redis.zrange(key, 0, '-1');
  const ofGates = async (key: (gate: string) => string) =>
    (await Promise.all(gates.map((gate) => members(key(gate))))).flat();
  const lanes = [...new Set(found.map((delivery) => keys.lane(delivery)))];
  return {
    found,
    due: await ofGates(keys.due),
    dueAt: (
      await Promise.all(
        gates.map(async (gate) => redis.zrange(keys.due(gate), 0, '-1', 'WITHSCORES')),
      )
    ).flat(),
    settled: await members(keys.deliveriesSettled),
    parked: await ofGates(keys.parked),
    places: await ofGates(keys.places),
    gatesDue: await gatesDueBy(rig, gates),
    lanes: new Map(
      await Promise.all(
        lanes.map(async (lane) => [lane, await redis.lrange(lane, 0, -1)] as const),
      ),
    ),
  };
}

/** When each gate has to be asked at the latest, and when it is noted to be. */
async function gatesDueBy({ redis, keys, limits }: DeliveryRig, gates: string[]) {
  return Promise.all(
    gates.map(async (gate) => {
      const [, due] = await redis.zrange(keys.due(gate), 0, '0', 'WITHSCORES');
      const lapses = await redis.zrange(keys.places(gate), 0, '-1', 'WITHSCORES');
      const isFull = lapses.length / 2 >= limits.concurrency;
      const held = Number((await redis.get(keys.hold(gate))) ?? 0);
      const possible = due === undefined || isFull ? Infinity : Math.max(Number(due), held);
      const known = Number((await redis.zscore(keys.gatesDue, gate)) ?? Infinity);
      return { at: Math.min(possible, Number(lapses[1] ?? Infinity)), known };
    }),
  );
}

/** The equation of conservation: planned is the sum of all states, by counters and by indexes. */
async function expectConservation(
  { redis, keys, deliveries }: DeliveryRig,
  found: Delivery[],
): Promise<void> {
  const { planned, byState } = await deliveries.ledger();
  expect(planned).toBe(found.length);
  expect(await redis.zcard(keys.deliveries())).toBe(planned);
  for (const state of DELIVERY_STATES) {
    const count = found.filter((delivery) => delivery.state === state).length;
    const indexed = await redis.zcard(keys.deliveries('state', state));
    expect([state, byState[state], indexed]).toEqual([state, count, count]);
  }
}

/**
 * Everything that holds between two steps, whatever they were: each delivery is where its state and
 * its turn say, and nowhere else.
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
  expect(sorted([...store.lanes.values()].flat())).toEqual(idsOf(outstanding));
  expect(sorted(store.parked)).toEqual(
    idsOf(outstanding.filter(({ state }) => state === 'parked')),
  );
  // The first of a lane waits for its time or holds a place, unless it is parked; nobody else does.
  const heads = [...store.lanes.values()].flatMap(([head]) => head ?? []);
  const pending = new Map(
    outstanding.filter(({ state }) => state === 'pending').map((one) => [one.id, one]),
  );
  expect(sorted([...store.due, ...store.places])).toEqual(
    sorted(heads.filter((id) => pending.has(id))),
  );
  for (let at = 0; at < store.dueAt.length; at += 2) {
    const nextAttemptAt = pending.get(store.dueAt[at] ?? '')?.nextAttemptAt;
    expect(Number(store.dueAt[at + 1])).toBeGreaterThanOrEqual(nextAttemptAt ?? Infinity);
  }
  // Who looks at the gates in time finds everything that waits, and every place that lapses.
  for (const { at, known } of store.gatesDue) expect(known).toBeLessThanOrEqual(at);
}

/** After everything has come to its end nothing is left but the records. */
export async function expectNothingLeft(rig: DeliveryRig): Promise<void> {
  await rig.release();
  const left = (await rig.keysLeft()).map((key) => key.replace(/^\{[^}]*\}:/, ''));
  const passing = /^(lane|due|parked|places|probe|gates-)/;
  expect(left.filter((key) => passing.test(key))).toEqual([]);
}
