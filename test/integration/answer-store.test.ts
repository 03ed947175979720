import { randomBytes } from 'node:crypto';
import { afterAll, describe, expect, test } from '@jest/globals';
import { sum } from '../../src/core/arrays.ts';
import { createSealer } from '../../src/deliver/secrets/seal.ts';
import { Repeats } from '../../src/http/idempotency.ts';
import { AnswerStore } from '../../src/redis/stores/answer-store.ts';
import { answerKeys } from '../../src/redis/keys.ts';
import { openStores } from '../support/stores.ts';
import { waitFor } from '../support/wait-for.ts';

const stores = openStores();
const { redis, keys } = stores;
afterAll(() => stores.close());

const { records, expiries, bytes } = answerKeys(keys);

/** What the three keys hold, as they account for it. */
async function held() {
  const values = await redis.hvals(records);
  const ids = await redis.zrange(expiries, 0, '-1');
  expect(ids.sort()).toEqual((await redis.hkeys(records)).sort());
  const sizes = Object.values(await redis.hgetall(bytes)).map(Number);
  expect(sum(sizes)).toBe(values.join('').length);
  return ids;
}

describe('kept answers', () => {
  test('one request begins an answer, others get it, and a released one is free again', async () => {
    const answers = new AnswerStore(redis, keys);
    const begun = await Promise.all(
      Array.from({ length: 5 }, (_, at) => answers.begin('a', `first-${at}`, 60_000)),
    );
    expect(begun.filter((record) => record === null)).toHaveLength(1);
    const first = `first-${begun.indexOf(null)}`;
    await answers.keep('a', first, 'the answer', 60_000);
    expect(await answers.begin('a', 'again', 60_000)).toBe('the answer');
    await answers.release('a', 'the answer');
    expect(await answers.begin('a', 'anew', 60_000)).toBeNull();
    expect(await held()).toEqual(['a']);
    await answers.release('a', 'anew');
    expect(await held()).toEqual([]);
  });

  test('a request that outlived its lease neither releases nor overwrites the answer of its repeat', async () => {
    const service = new Repeats(new AnswerStore(redis, keys), createSealer([randomBytes(32)]));
    const asked = { owner: 'ops', scope: ['/v1/watches'], key: 'slow', request: '{}' };
    const slow = await service.begin(asked);
    // Its lease ends.
    const [id = ''] = await redis.hkeys(records);
    await redis.zadd(expiries, 1, id);
    const again = await service.begin(asked);
    if (slow.kind !== 'first' || again.kind !== 'first') throw new Error('neither began');
    await slow.release();
    expect(await service.begin(asked)).toEqual({ kind: 'in_progress' });
    const answer = { status: 201, headers: {}, body: '{}' };
    await again.keep(answer);
    await slow.keep({ ...answer, status: 500 });
    expect(await service.begin(asked)).toEqual({ kind: 'repeat', answer });
    await redis.del(records, expiries, `${expiries}:ops`, bytes);
  });

  test('answers expire after their time, and those of a dead process after its lease', async () => {
    const answers = new AnswerStore(redis, keys);
    await answers.begin('died', 'never answered', 1);
    await waitFor(async () => (await answers.begin('died', 'anew', 60_000)) === null);
    await answers.keep('old', '', 'answer', 1);
    await waitFor(async () => {
      await answers.begin('other', '', 60_000);
      return (await redis.hget(records, 'old')) === null;
    });
    expect(await held()).toEqual(['died', 'other']);
    await answers.release('died', 'anew');
    await answers.release('other', '');
  });

  test('answers take a bounded number of bytes; those that expire first are dropped first', async () => {
    const answers = new AnswerStore(redis, keys, 1_000);
    for (let at = 0; at < 20; at += 1) {
      await answers.keep(`ops.k-${at}`, '', 'x'.repeat(300), 60_000 + at);
    }
    expect(await held()).toEqual(['ops.k-17', 'ops.k-18', 'ops.k-19']);
    await Promise.all((await held()).map((id) => answers.release(id, 'x'.repeat(300))));
  });

  test('answers of a token that keeps many make room for themselves, not out of those of another', async () => {
    const answers = new AnswerStore(redis, keys, 1_000);
    await answers.keep('ops.mine', '', 'x'.repeat(300), 59_000);
    for (let at = 0; at < 20; at += 1) {
      await answers.keep(`tenant.k-${at}`, '', 'x'.repeat(300), 60_000 + at);
    }
    expect(await held()).toEqual(['ops.mine', 'tenant.k-18', 'tenant.k-19']);
    await Promise.all((await held()).map((id) => answers.release(id, 'x'.repeat(300))));
    expect(await held()).toEqual([]);
    expect(await redis.keys(`${expiries}:*`)).toEqual([]);
  });

  test('answers are encrypted in Redis, and returned for a repeat', async () => {
    const service = new Repeats(new AnswerStore(redis, keys), createSealer([randomBytes(32)]));
    const asked = { owner: 'ops', scope: ['/v1/endpoints/:name/rotate'], key: 'k', request: '{}' };
    const answer = { status: 200, headers: {}, body: '{"secret":"whsec_canary"}' };
    const first = await service.begin(asked);
    if (first.kind === 'first') await first.keep(answer);
    expect((await redis.hvals(records)).join('')).not.toContain('canary');
    expect(await service.begin(asked)).toEqual({ kind: 'repeat', answer });
    expect(await service.begin({ ...asked, request: '{"now":true}' })).toEqual({
      kind: 'other_request',
    });
  });
});
