import { expect, test } from '@jest/globals';
import { Permits } from '../../src/deliver/permits.ts';

test('pools take turns at permits: one with many attempts holds up no other', async () => {
  const permits = new Permits(1, 10_000);
  const order: string[] = [];
  const attempt = (pool: string, name: string) =>
    permits.run(pool, async () => void order.push(name));
  await Promise.all([
    attempt('busy', 'first'),
    attempt('busy', 'second'),
    attempt('busy', 'third'),
    attempt('quiet', 'only'),
  ]);
  expect(order).toEqual(['first', 'second', 'only', 'third']);
});

test('an attempt that only waits for its receiver returns its permit and goes on', async () => {
  const permits = new Permits(1, 1);
  let answer: () => void = () => undefined;
  const slow = permits.run('slow', () => new Promise<void>((resolve) => (answer = resolve)));
  expect(await permits.run('other', async () => 'sent')).toBe('sent');
  answer();
  await slow;
});
