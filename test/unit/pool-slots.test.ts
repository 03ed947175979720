import { expect, test } from '@jest/globals';
import { newDelivery, type AttemptOutcome } from '../../src/core/delivery/delivery.ts';
import { createPoolSlots } from '../../src/deliver/slots.ts';
import { NOON } from '../support/builders.ts';

const delivery = newDelivery(
  { source: 'default', runId: 'r' },
  { id: 'evt_1', type: 'run.failed' },
  'ops',
  NOON,
);

function outcome(kind: 'delivered' | 'refusedConnection', at: number): AttemptOutcome {
  const attempt = { at, status: null, error: null, durationMs: 50, response: null };
  if (kind === 'delivered') return { kind, attempt: { ...attempt, status: 200 } };
  return { kind: 'failed', attempt: { ...attempt, error: { code: 'refused', message: '' } } };
}

/** A process, and the text in which the store keeps the slots. */
function processOn(store: { text: string }, name: string) {
  const slots = createPoolSlots(name);
  return (kind: 'delivered' | 'refusedConnection', at: number) => {
    // The answer to a claim, and then its result.
    slots.adopt('ops', store.text);
    const ended = { delivery, outcome: outcome(kind, at), hadWaiting: true, most: 128 };
    store.text = slots.afterAttempt(ended).slots ?? store.text;
  };
}

const limitIn = ({ text }: { text: string }) => (JSON.parse(text) as { limit: number }).limit;

test('slots that shrank to one grow again once the receiver is back', () => {
  const store = { text: '' };
  const end = processOn(store, 'a');
  for (let failure = 0; failure < 10; failure += 1)
    end('refusedConnection', NOON + failure * 1_000);
  expect(limitIn(store)).toBe(1);
  for (let answer = 0; answer < 60; answer += 1) end('delivered', NOON + 60_000);
  expect(limitIn(store)).toBeGreaterThan(16);
});

test('processes share how far slots have grown, and that they shrank', () => {
  const store = { text: '' };
  const [one, other] = [processOn(store, 'a'), processOn(store, 'b')];
  for (let answer = 0; answer < 20; answer += 1) one('delivered', NOON);
  other('delivered', NOON);
  expect(limitIn(store)).toBeGreaterThan(20);
  other('refusedConnection', NOON + 1_000);
  const less = limitIn(store);
  one('delivered', NOON + 1_001);
  expect(limitIn(store)).toBeLessThanOrEqual(less + 1);
});
