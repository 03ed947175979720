import { expect, test, describe } from '@jest/globals';
import type { Claim } from '../../src/core/delivery/claim.ts';
import type { PoolClaims } from '../../src/redis/stores/pool-claims.ts';
import { RunwatchError } from '../../src/core/errors.ts';
import { configSchema } from '../../src/config/schema.ts';
import { outlasting, type Attempts, type Delivered } from '../../src/deliver/attempts.ts';
import type { Deliverer } from '../../src/deliver/deliverer.ts';
import type { PoolSlots } from '../../src/deliver/slots.ts';
import type { OutboxStore } from '../../src/redis/stores/outbox-store.ts';
import { testProcess } from '../support/daemon.ts';
import { delivererOf } from '../support/deliverer.ts';
import { limitedTo } from '../support/endpoints.ts';

const claimOf = (id: string, endpoint = 'ops') =>
  ({ token: 'p.1', stored: { delivery: { id, endpoint } } }) as Claim;
const turn = () => new Promise((resolve) => setImmediate(resolve));

interface RelayOptions {
  release?: OutboxStore['release'];
  serves?: Deliverer['serves'];
  mayClaim?: () => boolean;
  deliver?: Attempts['deliver'];
  slots?: Pick<PoolSlots, 'adopt' | 'limitOf'>;
  capacity?: number;
  later?: Deliverer['later'];
  onExhausted?: (error: unknown) => void;
}

/** A relay with claims and attempts that the test answers. */
function relayOf(options: RelayOptions = {}) {
  const attempts = new Map<string, (delivered: Delivered) => void>();
  const asked: { pool: string; most: number; answer: (claims: Claim[]) => void }[] = [];
  const { capacity = 20, mayClaim = () => true } = options;
  const process = testProcess({
    config: configSchema.parse({ data_dir: '/nowhere', delivery: { concurrency: capacity } }),
    endpoints: limitedTo(() => ({ most: 128, rate: null, deadlineMs: 1_000 })),
    stores: {
      outbox: {
        claim: ({ pool, most }) =>
          new Promise<PoolClaims>((resolve) => {
            asked.push({
              pool,
              most,
              answer: (claims) => resolve({ claims, slots: '', heldMs: null }),
            });
          }),
        duePools: async () => [],
        release: options.release ?? (async () => 0),
      },
    },
    pulse: { isSure: mayClaim },
    hostShortages: { note: options.onExhausted ?? (() => undefined) },
  });
  const deliverer = Object.assign(delivererOf(process), {
    serves: options.serves ?? ((pool: string) => pool !== 'unknown'),
    slots: options.slots ?? {
      adopt: () => undefined,
      limitOf: (pool: string) => (pool === 'grown' ? 128 : 4),
    },
    later: options.later ?? (() => () => undefined),
  });
  const deliver: Attempts['deliver'] = ([claim]) =>
    new Promise((resolve) => attempts.set(claim.stored.delivery.id, resolve));
  Object.assign(deliverer.attempts, { deliver: options.deliver ?? deliver });
  return { relay: deliverer.relay, attempts, asked };
}

test('closing the relay waits for deliveries claimed just before, by a sweep or after an attempt', async () => {
  const { relay, attempts, asked } = relayOf();
  relay.dispatch(['ops']);
  await turn();
  let closed = false;
  const closing = relay.close().then(() => (closed = true));

  asked[0]?.answer([claimOf('a')]);
  await turn();
  expect([closed, ...attempts.keys()]).toEqual([false, 'a']);
  attempts.get('a')?.({ claimed: [claimOf('b')], next: [] });
  await turn();
  expect([closed, ...attempts.keys()]).toEqual([false, 'a', 'b']);
  attempts.get('b')?.({ claimed: [], next: [] });
  await closing;
});

test('the relay claims nothing for a pool that its configuration lacks', async () => {
  const { relay, asked } = relayOf();
  relay.dispatch(['unknown', 'ops']);
  await turn();
  expect(asked.map(({ pool }) => pool)).toEqual(['ops']);
});

test('the relay claims nothing for an endpoint that was removed during an attempt', async () => {
  const known = new Set(['ops']);
  const rooms: number[] = [];
  const released: string[] = [];
  const { relay, attempts, asked } = relayOf({
    serves: (pool) => known.has(pool),
    async release({ pool }, held) {
      released.push(...held.map(({ id }) => `${pool} ${id}`));
      return held.length;
    },
    deliver: ([claim], room) =>
      new Promise((resolve) => {
        attempts.set(claim.stored.delivery.id, (delivered) => {
          rooms.push(room());
          resolve(delivered);
        });
      }),
  });
  relay.dispatch(['ops']);
  await turn();
  asked[0]?.answer([claimOf('a')]);
  relay.dispatch(['ops']);
  await turn();
  known.delete('ops');
  // Its claim was made before, and answered after.
  asked[1]?.answer([claimOf('b'), claimOf('c')]);
  attempts.get('a')?.({ claimed: [], next: [{ pool: 'ops', inMs: 0 }] });
  await turn();
  expect(rooms).toEqual([0]);
  expect([...attempts.keys()]).toEqual(['a']);
  expect(released).toEqual(['ops b', 'ops c']);
  expect(asked).toHaveLength(2);
});

test('a receiver takes more than a few attempts only while most of the capacity is free', async () => {
  const { relay, asked } = relayOf();
  relay.dispatch(['grown']);
  await turn();
  expect(asked[0]?.most).toBe(14);
  asked[0]?.answer(Array.from({ length: 14 }, (_, at) => claimOf(`g-${at}`, 'grown')));
  await turn();
  relay.dispatch(['grown', 'other']);
  await turn();
  expect(asked.slice(1).map(({ pool, most }) => [pool, most])).toEqual([['other', 4]]);
});

test('a receiver with many attempts leaves the slots of those that end to receivers that wait', async () => {
  const rooms: number[] = [];
  const { relay, attempts, asked } = relayOf({
    deliver: ([claim], room) =>
      new Promise((resolve) => {
        attempts.set(claim.stored.delivery.id, (delivered) => {
          rooms.push(room());
          resolve(delivered);
        });
      }),
  });
  relay.dispatch(['grown']);
  await turn();
  relay.dispatch(['a', 'b']);
  await turn();
  const claimed = asked.map(({ pool, most }) => [pool, most]);
  expect(claimed).toEqual([
    ['grown', 14],
    ['a', 4],
    ['b', 2],
  ]);
  for (const { pool, most, answer } of asked) {
    answer(Array.from({ length: most }, (_, at) => claimOf(`${pool}-${at}`, pool)));
  }
  await turn();
  relay.dispatch(['late', 'later']);
  await turn();
  expect(asked).toHaveLength(3);
  for (const id of ['a-0', 'grown-0', 'grown-1', 'grown-2', 'grown-3']) {
    attempts.get(id)?.({ claimed: id === 'a-0' ? [claimOf('a-4', 'a')] : [], next: [] });
    await turn();
  }
  // It left three slots, to those three that waited; then no other one did.
  expect(rooms).toEqual([1, 0, 0, 0, 1]);
  const others = asked.slice(3).map(({ pool, most }) => [pool, most]);
  expect(others).toEqual(['b', 'late', 'later'].map((pool) => [pool, 1]));
});

test('receivers that wait together get even shares, whatever their order', async () => {
  const grown = ['grown', 'grown-2', 'grown-3'];
  const slots = { adopt: () => undefined, limitOf: () => 128 };
  const { relay, asked } = relayOf({ slots, capacity: 40 });
  relay.dispatch(grown);
  await turn();
  expect(asked.map(({ pool, most }) => [pool, most])).toEqual(grown.map((pool) => [pool, 8]));
});

test('one round claims at as many receivers as there is room for, also beyond half of the capacity', async () => {
  const { relay, asked } = relayOf();
  relay.dispatch(['a', 'b', 'c', 'd', 'e', 'f']);
  await turn();
  expect(asked.map(({ pool, most }) => [pool, most])).toEqual(
    ['a', 'b', 'c', 'd', 'e'].map((pool) => [pool, 4]),
  );
});

test('the relay claims nothing while its process may count as dead, and goes on after that', async () => {
  let isSure = false;
  const { relay, attempts, asked } = relayOf({
    mayClaim: () => isSure,
    deliver: ([claim], room) =>
      new Promise((resolve) => {
        attempts.set(claim.stored.delivery.id, (delivered) => {
          asked.push({ pool: 'room', most: room(), answer: () => undefined });
          resolve(delivered);
        });
      }),
  });
  const resume = async () => {
    isSure = true;
    relay.resume();
    await turn();
  };
  relay.dispatch(['ops']);
  await turn();
  expect(asked).toEqual([]);
  await resume();
  asked[0]?.answer([claimOf('a')]);
  await turn();

  isSure = false;
  attempts.get('a')?.({ claimed: [], next: [] });
  await turn();
  expect(asked.slice(1).map(({ pool, most }) => [pool, most])).toEqual([['room', 0]]);
  await resume();
  expect(asked.slice(2).map(({ pool, most }) => [pool, most])).toEqual([['ops', 4]]);
});

test('a delivery that is claimed again while its release is under way is attempted again', async () => {
  const tooOld = new RunwatchError('the delivery was not sent', { code: 'claim_too_old' });
  const delivered: string[] = [];
  const { relay, asked } = relayOf({
    deliver: async ([{ token }]) => {
      delivered.push(token);
      if (delivered.length === 1) throw tooOld;
      return { claimed: [], next: [] };
    },
    release: async () => {
      relay.dispatch(['ops']);
      await turn();
      asked[1]?.answer([{ ...claimOf('a'), token: 'p.2' }]);
      await turn();
      return 1;
    },
  });
  relay.dispatch(['ops']);
  await turn();
  asked[0]?.answer([claimOf('a')]);
  for (let turns = 0; turns < 6; turns += 1) await turn();
  expect(delivered).toEqual(['p.1', 'p.2']);
});

test('a delivery that this host can open no connection for is released, and tried again after a second', async () => {
  const exhausted = new RunwatchError('no connection', { code: 'host_exhausted', retriable: true });
  const released: string[] = [];
  const told: unknown[] = [];
  let rested = () => undefined as void;
  const { relay, asked } = relayOf({
    async release({ pool }, held) {
      released.push(...held.map(({ id }) => id));
      // The bell of the release.
      relay.dispatch([pool]);
      return held.length;
    },
    deliver: () => Promise.reject(exhausted),
    onExhausted: (error) => void told.push(error),
    later(ms, action) {
      if (ms === 1_000) rested = action;
      return () => undefined;
    },
  });
  relay.dispatch(['ops']);
  await turn();
  asked[0]?.answer([claimOf('a')]);
  await turn();
  relay.dispatch(['ops', 'other']);
  await turn();
  expect([released, told]).toEqual([['a'], [exhausted]]);
  expect(asked.map(({ pool }) => pool)).toEqual(['ops', 'other']);
  rested();
  await turn();
  expect(asked.map(({ pool }) => pool)).toEqual(['ops', 'other', 'ops']);
});

test('the relay claims again at a receiver after all of its claims were given back', async () => {
  const { relay, asked } = relayOf({
    deliver: async () => {
      throw new RunwatchError('the delivery was not sent', { code: 'claim_too_old' });
    },
    release: async () => {
      relay.dispatch(['ops']);
      await turn();
      return 1;
    },
  });
  relay.dispatch(['ops']);
  await turn();
  asked[0]?.answer(['a', 'b', 'c', 'd'].map((id) => claimOf(id)));
  for (let turns = 0; turns < 6; turns += 1) await turn();
  expect(asked.map(({ most }) => most)).toEqual([4, 4]);
});

const away = () =>
  new RunwatchError('Redis is not available', { code: 'redis_unavailable', retriable: true });

/** A step that fails this many times, and the number of tries. */
function failing(times: number, error: () => Error) {
  const tried: string[] = [];
  const step = async (input: string) => {
    tried.push(input);
    if (tried.length <= times) throw error();
    return `${input} written`;
  };
  return { step, tried };
}

describe('step with a result that must not be lost', () => {
  test('an important step is repeated until the store is back', async () => {
    const { step, tried } = failing(3, away);
    const { signal } = new AbortController();
    expect(await outlasting(step, signal)('result')).toBe('result written');
    expect(tried).toHaveLength(4);
  });

  test('an important step that fails for another reason is not repeated', async () => {
    const { step, tried } = failing(3, () => new Error('a defect'));
    const { signal } = new AbortController();
    await expect(outlasting(step, signal)('result')).rejects.toThrow('a defect');
    expect(tried).toHaveLength(1);
  });

  test('an important step is given up when the process has to end', async () => {
    const stopping = new AbortController();
    const { step } = failing(Infinity, away);
    const taken = outlasting(step, stopping.signal)('result');
    stopping.abort(new Error('stopping'));
    await expect(taken).rejects.toThrow('stopping');
  });
});
