import { afterAll, expect, test } from '@jest/globals';
import { EndedSessionStore } from '../../src/redis/stores/session-store.ts';
import { openStores } from '../support/stores.ts';

const HOUR = 3_600_000;

const stores = openStores();
const { redis, keys } = stores;
const ended = new EndedSessionStore(redis, keys, 3);
afterAll(() => stores.close());

test('sessions that were signed out are remembered by token until they would have expired', async () => {
  await ended.add({ owner: 'ops', id: 'a' }, HOUR);
  expect(await ended.has({ owner: 'ops', id: 'a' })).toBe(true);
  expect(await ended.has({ owner: 'ops', id: 'b' })).toBe(false);
  expect(await ended.has({ owner: 'wall', id: 'a' })).toBe(false);
  const left = await redis.pttl(keys.endedSessions('ops'));
  expect(left).toBeGreaterThan(HOUR / 2);
  expect(left).toBeLessThanOrEqual(HOUR);
});

test('a token that signs out again and again loses its own oldest sign-outs alone', async () => {
  await ended.add({ owner: 'quiet', id: 'kept' }, HOUR);
  for (const id of ['1', '2', '3', '4']) await ended.add({ owner: 'busy', id }, HOUR + Number(id));
  const kept = await Promise.all(
    ['1', '2', '3', '4'].map((id) => ended.has({ owner: 'busy', id })),
  );
  expect(kept).toEqual([false, true, true, true]);
  expect(await ended.has({ owner: 'quiet', id: 'kept' })).toBe(true);
});
