import { afterAll, describe, expect, test } from '@jest/globals';
import { HintStore } from '../../src/redis/stores/hint-store.ts';
import { openStores } from '../support/stores.ts';

const stores = openStores();
const { redis, keys } = stores;
const hints = new HintStore(redis, keys);
afterAll(() => stores.close());

let names = 0;

/** A source of its own, of which two runs may be streamed. */
function openSource() {
  const source = `source-${(names += 1)}`;
  return {
    source,
    lease: async (id: string, rank: number, process = 'one') =>
      (await hints.lease(source, { id, process, rank, limit: 2 })) !== null,
    release: (id: string, restMs: number, process = 'one') =>
      hints.release(source, { id, process, restMs }),
  };
}

describe('streams', () => {
  test('streams are limited over all processes, and one for each run', async () => {
    const { lease } = openSource();
    expect(await lease('a', 1)).toBe(true);
    expect(await lease('a', 1, 'two')).toBe(false);
    expect(await lease('b', 2, 'two')).toBe(true);
    expect(await lease('c', 3)).toBe(false);
  });

  test('a stream is taken from the run that needs one least, and its process learns of that', async () => {
    const { source, lease } = openSource();
    await lease('a', 1);
    await lease('b', 3);
    const ask = { id: 'urgent', process: 'two', rank: 2, limit: 2 };
    expect(await hints.lease(source, ask)).toEqual({ loser: 'b' });
    expect(await hints.renew(source, 'one', ['a', 'b'])).toEqual(['b']);
    expect(await hints.renew(source, 'two', ['urgent'])).toEqual([]);
  });

  test('a stream is not opened again while the run rests', async () => {
    const { lease, release } = openSource();
    await lease('a', 1);
    await release('a', 60_000);
    expect(await lease('a', 1)).toBe(false);
    await lease('b', 1);
    await release('b', 0);
    expect(await lease('b', 1)).toBe(true);
  });

  test('a stream is given back only by the process that holds it', async () => {
    const { lease, release } = openSource();
    await lease('a', 1);
    await release('a', 0, 'two');
    expect(await lease('a', 1, 'two')).toBe(false);
  });

  test('a stream is relied upon only while its process says so', async () => {
    const { source, lease, release } = openSource();
    await lease('a', 1);
    const trust = (process: string, trusted: boolean) =>
      hints.trust(source, { id: 'a', process, trusted });
    expect(await hints.isStreamed(source, 'a')).toBe(false);
    await trust('two', true);
    expect(await hints.isStreamed(source, 'a')).toBe(false);
    await trust('one', true);
    expect(await hints.isStreamed(source, 'a')).toBe(true);
    expect(await hints.renew(source, 'one', ['a'])).toEqual([]);
    await trust('one', false);
    expect(await hints.isStreamed(source, 'a')).toBe(false);
    await trust('one', true);
    await release('a', 0);
    expect(await hints.isStreamed(source, 'a')).toBe(false);
  });

  test('streams of a killed process are taken up, and kept until that is done', async () => {
    const { source, lease } = openSource();
    await lease('a', 1);
    await lease('b', 1, 'two');
    const [leases] = keys.hints(source);
    await redis.zadd(leases, Date.now() - 1, 'a');
    const died = hints.takeUpLapsed(source, async () => {
      throw new Error('killed as well');
    });
    await expect(died).rejects.toThrow('killed as well');
    const taken: string[] = [];
    const takeUp = async (id: string) => void taken.push(id);
    await hints.takeUpLapsed(source, takeUp);
    await hints.takeUpLapsed(source, takeUp);
    expect(taken).toEqual(['a']);
    expect(await lease('a', 1, 'two')).toBe(true);
  });
});
