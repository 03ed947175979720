import { afterAll, beforeEach, expect, test } from '@jest/globals';
import { SourceAgreement } from '../../src/source/observer.ts';
import { NOON } from '../support/builders.ts';
import { testProcess, testSource } from '../support/daemon.ts';
import { openStores } from '../support/stores.ts';
import { testRedis } from '../support/redis.ts';

const place = testRedis();
const stores = openStores(place);
afterAll(() => stores.close());

let now = NOON;
let raised: [type: string, since: number][];

/** The agreement of the source in one process. */
function process(): SourceAgreement {
  const own = testProcess({
    stores,
    now: () => now,
    async raise({ type, data }, write) {
      const isWritten = (await write?.(null)) !== null;
      if (isWritten) raised.push([type, Date.parse(String(data['since']))]);
    },
  });
  return new SourceAgreement(testSource({ process: own }));
}

beforeEach(async () => {
  now = NOON;
  raised = [];
  await stores.redis.del(stores.keys.sourceConsistency('default'));
});

test('processes share what contradicts itself, and one raises the event', async () => {
  const [one, other] = [process(), process()];
  await Promise.all([one.note('run-1', 'contradicted'), other.note('run-2', 'contradicted')]);
  await Promise.all([one.note('run-1', 'contradicted'), other.note('run-2', 'contradicted')]);
  expect(raised).toEqual([['source.inconsistent', NOON]]);
  expect(await other.isConsistent()).toBe(false);
});

test('a source of which most doubted polls are confirmed remains consistent', async () => {
  const agreement = process();
  for (const runId of ['run-1', 'run-2', 'run-3', 'run-4', 'run-5']) {
    for (let change = 0; change < 10; change += 1) await agreement.note(runId, 'agreed');
    await agreement.note(runId, 'contradicted');
  }
  expect(raised).toEqual([]);
  expect(await agreement.isConsistent()).toBe(true);
});

test('ten minutes without a contradiction end an inconsistency, whichever process began it', async () => {
  const dead = process();
  await dead.note('run-1', 'contradicted');
  await dead.note('run-2', 'contradicted');
  const [one, other] = [process(), process()];
  now = NOON + 599_000;
  await one.tend();
  expect(raised).toHaveLength(1);
  now = NOON + 600_000;
  await Promise.all([one.tend(), other.tend()]);
  expect(raised.slice(1)).toEqual([['source.consistent', NOON]]);
  expect(await stores.redis.exists(stores.keys.sourceConsistency('default'))).toBe(0);
});
