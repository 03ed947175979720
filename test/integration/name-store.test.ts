import { afterAll, expect, test } from '@jest/globals';
import { NodeNameStore, WorkflowNameStore } from '../../src/redis/stores/name-store.ts';
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
});

test('names of nodes are kept by workflow, and expire when unused', async () => {
  const nodes = new NodeNameStore(redis, keys);
  await nodes.put('default', 'workflow-1', new Map([['node-1', 'Extract']]));
  expect(await nodes.get('default', 'workflow-1')).toEqual(new Map([['node-1', 'Extract']]));
  expect(await nodes.get('default', 'workflow-2')).toBeNull();
  expect(await redis.pttl(keys.nodeNames('default'))).toBeGreaterThan(0);
});

test('what streams have reported is kept by source and workflow, and expires when unused', async () => {
  const report = { workflowId: 'workflow-1', kind: 'failed' } as const;
  await stores.streams.addReport('default', { ...report, isReported: true });
  await stores.streams.addReport('default', { ...report, isReported: false });
  const { source, workflows } = await stores.streams.trust('default');
  expect([source, workflows.get('workflow-1')]).toEqual([{ failed: '10' }, { failed: '10' }]);
  expect(await redis.pttl(keys.streamTrust('default'))).toBeGreaterThan(0);
});
