import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { isBalanced, openLedger, type LedgerReader } from '../../bench/support/equation.ts';
import { planDeliveries, type Delivery } from '../../src/core/delivery/delivery.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { ledgerField } from '../../src/redis/keys.ts';
import { observeContext, newWatch, NOON, snapshot } from '../support/builders.ts';
import { testRedis } from '../support/redis.ts';
import { openStores } from '../support/stores.ts';

// The soak is only as good as its eye: here it is shown what it must not overlook.

let stores: ReturnType<typeof openStores>;
let ledger: LedgerReader;
let delivery: Delivery;

beforeAll(async () => {
  const { url, prefix } = testRedis();
  stores = openStores({ url, prefix });
  const subscribers = [{ events: ['*'] }, { events: ['run.failed'] }];
  ledger = await openLedger({ path: url, prefix, subscribers });
});

afterAll(() => {
  ledger.close();
  stores.close();
});

/** A run that failed, told to an endpoint that wants everything and to one that wants failures. */
beforeEach(async () => {
  await stores.redis.del(...(await stores.keysLeft()), 'none');
  const before = newWatch({}, [
    { kind: 'endpoint', endpoint: 'all' },
    { kind: 'endpoint', endpoint: 'failures' },
  ]);
  const run = snapshot({ status: 'failed', finished_at: '2026-01-01T00:00:00.000Z' });
  const { watch, events } = observe(before, { kind: 'run', run }, observeContext(NOON));
  const wants = () => true;
  const deliveries = planDeliveries(watch, events, before.subscriptions, { wants, now: NOON });
  await stores.watches.commit({ before: null, after: watch, events, deliveries });
  [delivery] = deliveries as [Delivery, Delivery];
});

describe('the equation', () => {
  test('holds of what the product writes', async () => {
    const reading = await ledger.read();
    expect(Object.values(reading.sums)).toEqual([2, 2, 2, 2]);
    expect(isBalanced(reading)).toBe(true);
  });

  test.each<[string, () => Promise<unknown>]>([
    [
      'a delivery that no state counts',
      () => stores.redis.hincrby(stores.keys.ledger, ledgerField(delivery), -1),
    ],
    [
      'a delivery that is in no index',
      () => stores.redis.del(stores.keys.deliveries('state', delivery.state)),
    ],
    [
      'an event without its deliveries',
      () => stores.redis.hset(stores.keys.events('type', 'run.failed'), '9', 'c'),
    ],
    [
      'a delivery that is counted in one state and indexed in another',
      () =>
        stores.redis
          .multi()
          .hincrby(stores.keys.ledger, ledgerField(delivery), -1)
          .hincrby(stores.keys.ledger, ledgerField({ ...delivery, state: 'dead' }), 1)
          .exec(),
    ],
  ])('does not hold of %s', async (_what, spoil) => {
    await spoil();
    expect(isBalanced(await ledger.read())).toBe(false);
  });
});
