import { describe, expect, test } from '@jest/globals';
import { isNews, streamedDelay, streamRank } from '../../src/core/feed/hint.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { observeContext, newWatch, NOON, POLICY, snapshot } from '../support/builders.ts';

test("a hint counts only if its status differs from the last poll's", () => {
  expect(isNews({ status: 'completed' }, 'running')).toBe(true);
  expect(isNews({ status: 'running' }, null)).toBe(true);
  expect(isNews({ status: 'running' }, 'running')).toBe(false);
});

describe('watch of a streamed run', () => {
  const progressed = newWatch({ run: snapshot({ progress: 10 }), timeoutAt: NOON + 3_600_000 });

  /** When the watch is polled again after a poll. */
  const polledAgain = (watch: Watch, context: Partial<ObserveContext> = {}) => {
    const look = { kind: 'run', run: watch.run ?? snapshot() } as const;
    const ground = { ...observeContext(NOON), isStreamed: true, ...context };
    return (observe(watch, look, ground).watch.nextPollAt ?? 0) - NOON;
  };

  test('a streamed run is polled again after two minutes', () => {
    expect(polledAgain(progressed, { isStreamed: false })).toBeLessThan(60_001);
    expect(polledAgain(progressed)).toBe(120_000);
  });

  test('a streamed run is polled by max_delay and its timeout, and not before its normal interval', () => {
    expect(polledAgain({ ...progressed, maxDelayMs: 9_000 })).toBe(9_000);
    expect(polledAgain({ ...progressed, timeoutAt: NOON + 7_000 })).toBe(7_000);
    expect(streamedDelay({ maxDelayMs: null }, 300_000)).toBe(300_000);
  });

  test('a streamed run is polled when a stall or a reminder is due', () => {
    const dwell = { since: NOON - POLICY.stallAfterMs + 30_000, stalled: false };
    expect(polledAgain({ ...progressed, dwell })).toBe(30_000);
    const waits = snapshot({ status: 'awaiting_human_feedback' });
    const waiting = { since: NOON, reminders: 0, reminderId: null };
    const policy = { ...POLICY, remindAfterMs: [20_000] };
    expect(polledAgain({ ...progressed, run: waits, waiting }, { policy })).toBe(20_000);
  });
});

test('urgent watches get a stream first, then the oldest', () => {
  const watches = [
    { profile: 'frugal' as const, registeredAt: NOON - 2 },
    { profile: 'normal' as const, registeredAt: NOON - 1 },
    { profile: 'normal' as const, registeredAt: NOON - 3 },
    { profile: 'urgent' as const, registeredAt: NOON },
  ];
  const order = watches.toSorted((a, b) => streamRank(a) - streamRank(b));
  expect(order).toEqual([watches[3], watches[2], watches[1], watches[0]]);
});
