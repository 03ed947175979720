import { afterAll, expect, test } from '@jest/globals';
import {
  allowedStreams,
  capacityAfter,
  NEW_CAPACITY,
} from '../../src/core/feed/stream-capacity.ts';
import { NOON } from '../support/builders.ts';
import { openStores } from '../support/stores.ts';

const { redis, keys, streams, close } = openStores();
afterAll(close);

const MOST = 1_000;

/** How many streams may be open where the store holds this size, before a 429 and after it. */
async function allowedWith(size: number | null): Promise<number[]> {
  const source = `source-${size}`;
  const stored = JSON.stringify({ ...NEW_CAPACITY, size });
  await redis.hset(keys.streamState(source), 'capacity', stored);
  const read = await streams.capacity(source);
  const halved = await streams.changeCapacity(source, (capacity) =>
    capacityAfter(capacity, { is: 'throttled' }, NOON, MOST),
  );
  expect(await streams.capacity(source)).toEqual(halved);
  return [read, halved].map((one) => allowedStreams(one, { most: MOST, now: NOON }));
}

test('a stored number of streams that had grown without a bound leaves the source its streams', async () => {
  expect(await allowedWith(null)).toEqual([5, 2]);
  expect(await allowedWith(1e300)).toEqual([MOST, 500]);
  expect(await allowedWith(40)).toEqual([40, 20]);
});
