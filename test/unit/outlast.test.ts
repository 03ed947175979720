import { describe, expect, test } from '@jest/globals';
import { RunwatchError } from '../../src/core/errors.ts';
import { outlasting } from '../../src/deliver/deliver.ts';

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
