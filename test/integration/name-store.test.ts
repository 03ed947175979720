import { afterAll, expect, test } from '@jest/globals';
import { WorkflowNameStore } from '../../src/redis/stores/name-store.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys } = stores;
const names = new WorkflowNameStore(redis, keys);
afterAll(() => stores.close());

test('names of workflows are kept by source, renamed and forgotten, and expire when unused', async () => {
  await names.put(
    'default',
    [
      { id: 'a', name: 'one' },
      { id: 'b', name: 'two' },
    ],
    [],
  );
  await names.put('default', [{ id: 'a', name: 'renamed' }], ['b']);
  expect([...(await names.all('default'))]).toEqual([['a', 'renamed']]);
  expect((await names.all('other')).size).toBe(0);
  expect(await redis.pttl(keys.workflowNames('default'))).toBeGreaterThan(0);
});

test('of several processes, one reads the list of workflows at a time', async () => {
  const claims = await Promise.all(
    Array.from({ length: 5 }, () => names.claimPass('default', 60_000)),
  );
  expect(claims.filter(Boolean)).toHaveLength(1);
  await names.rest('other', 60_000);
  expect(await names.claimPass('other', 60_000)).toBe(false);
});
