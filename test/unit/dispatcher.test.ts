import { expect, test } from '@jest/globals';
import type { Claim } from '../../src/core/claim.ts';
import type { Delivered } from '../../src/deliver/deliver-event.ts';
import { createDispatcher } from '../../src/deliver/dispatcher.ts';

const claimOf = (id: string) => ({ stored: { delivery: { id } } }) as Claim;

test('closing waits for what was claimed just before, by a round or by an attempt that ends', async () => {
  const attempts = new Map<string, (delivered: Delivered) => void>();
  let claimed: (claims: Claim[]) => void = () => undefined;
  const dispatcher = createDispatcher({
    gates: { claim: () => new Promise((resolve) => (claimed = resolve)), dueBy: async () => [] },
    limitsOf: () => ({ concurrency: 1, paceMs: null, placeMs: 1_000 }) as never,
    deliver: (claim) => new Promise((resolve) => attempts.set(claim.stored.delivery.id, resolve)),
    capacity: 10,
    later: () => undefined,
    onError: (error) => {
      throw error;
    },
    now: () => 0,
  });
  dispatcher.dispatch(['gate']);
  let closed = false;
  const closing = dispatcher.close().then(() => (closed = true));
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  claimed([claimOf('a')]);
  await turn();
  expect([closed, ...attempts.keys()]).toEqual([false, 'a']);
  attempts.get('a')?.({ claimed: [claimOf('b')], rings: [] });
  await turn();
  expect([closed, ...attempts.keys()]).toEqual([false, 'a', 'b']);
  attempts.get('b')?.({ claimed: [], rings: [] });
  await closing;
});
