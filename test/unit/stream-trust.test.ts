import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  allowedStreams,
  capacityAfter,
  isLastingFor,
  isLikely,
  NEW_CAPACITY,
  type StreamOutcome,
} from '../../src/core/feed/stream-capacity.ts';
import {
  doubtedKinds,
  hasReports,
  isBelieved,
  isEarned,
  isHopeful,
  streamedDelay,
  streamRank,
} from '../../src/core/feed/stream-trust.ts';
import type { ObserveContext } from '../../src/core/watch/observation.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { observeContext, newWatch, NOON, POLICY, snapshot } from '../support/builders.ts';

const trusting = (history: object, source = {}) => ({
  source,
  workflows: new Map([['workflow-1', history]]),
});

describe('trust in streams', () => {
  test('documented ends are believed after three in a row, other transitions after ten', () => {
    expect(isBelieved('completed', '11')).toBe(false);
    expect(isBelieved('failed', '111')).toBe(true);
    expect(isBelieved('awaiting', '111111111')).toBe(false);
    expect(isBelieved('awaiting', '1111111111')).toBe(true);
  });

  test('a kind is believed while one of its last twenty transitions was missed, not with two', () => {
    expect(isBelieved('completed', '1110')).toBe(true);
    expect(isBelieved('completed', '11100')).toBe(false);
    expect(isBelieved('completed', '0111111111111111111')).toBe(true);
  });

  test('every kind that a workflow has shown must be believed before reads are left to streams', () => {
    const trust = trusting({ completed: '111', awaiting: '1' });
    expect(doubtedKinds(trust, 'workflow-1')).toEqual(['awaiting']);
    const watch = newWatch({ run: snapshot() });
    expect(isEarned(trust, watch)).toBe(false);
    expect(isEarned(trusting({ completed: '111' }), watch)).toBe(true);
  });

  test('a workflow without a history goes by its source, and nothing shown earns nothing', () => {
    const watch = newWatch({ run: snapshot({ workflow_id: 'other' }) });
    expect(isEarned(trusting({}, { failed: '111' }), watch)).toBe(true);
    expect(isEarned(trusting({ completed: '111' }), watch)).toBe(false);
  });

  test('a kind that only runs without a stream have shown must be believed, too', () => {
    const watch = newWatch({ run: snapshot() });
    expect(isEarned(trusting({ completed: '111', awaiting: '' }), watch)).toBe(false);
    const source = { completed: '111', awaiting: '1'.repeat(9) };
    expect(isEarned(trusting({ completed: '111' }, source), watch)).toBe(true);
    expect(doubtedKinds(trusting({ awaiting: '' }, { completed: '111' }), 'workflow-1')).toEqual([
      'awaiting',
    ]);
  });

  test('a workflow that has had no stream goes by what those of its source report', () => {
    const watch = newWatch({ run: snapshot() });
    const source = { completed: '111', awaiting: '1'.repeat(10) };
    expect(isEarned(trusting({ awaiting: '' }, source), watch)).toBe(true);
    const silent = trusting({ completed: '' }, { completed: '0'.repeat(10) });
    expect(isHopeful(silent, { runId: 'run-3', run: snapshot() })).toBe(false);
  });

  test('what only reads have shown is no report of streams', () => {
    expect(hasReports({ completed: '', awaiting: '' })).toBe(false);
    expect(hasReports({ completed: '', awaiting: '0' })).toBe(true);
  });

  test('one streamed run in twenty keeps its cadence for good', () => {
    const trust = trusting({ completed: '111' });
    const ids = Array.from({ length: 2_000 }, (_, at) => `run-${at}`);
    const kept = ids.filter((runId) => !isEarned(trust, newWatch({ runId, run: snapshot() })));
    expect(kept.length / ids.length).toBeGreaterThan(0.03);
    expect(kept.length / ids.length).toBeLessThan(0.07);
  });

  test('streams that reported none of ten transitions are opened for one run in twenty', () => {
    const trust = trusting({ completed: '0000000000' });
    const ids = Array.from({ length: 2_000 }, (_, at) => `run-${at}`);
    const asked = ids.filter((runId) => isHopeful(trust, newWatch({ runId, run: snapshot() })));
    expect(asked.length / ids.length).toBeLessThan(0.07);
    expect(asked.length).toBeGreaterThan(0);
  });
});

test.each(['1000', '10011010110', '0000'])(
  'streams that lie (%s) are opened for one run in twenty and stand in for no reads',
  (hint) => {
    const trust = trusting({ completed: '1111', hint });
    const ids = Array.from({ length: 2_000 }, (_, at) => `run-${at}`);
    const asked = ids.filter((runId) => isHopeful(trust, newWatch({ runId, run: snapshot() })));
    expect(asked.length / ids.length).toBeLessThan(0.07);
    expect(asked.length).toBeGreaterThan(0);
    expect(ids.filter((runId) => isEarned(trust, { runId, run: snapshot() }))).toEqual([]);
  },
);

test('streams that have lied are opened again once three hints in a row were confirmed', () => {
  const runId = 'run-3';
  const of = (hint: string) =>
    isHopeful(trusting({ completed: '1111', hint }), { runId, run: snapshot() });
  expect([of('00000011'), of('000000111'), of('0001101')]).toEqual([false, true, false]);
});

describe('number of streams', () => {
  const live: StreamOutcome = { is: 'live' };

  test('the number starts at five and doubles every five seconds while streams are live', () => {
    let capacity = capacityAfter(NEW_CAPACITY, live, NOON);
    expect(capacity.size).toBe(5);
    for (let s = 1; s <= 20; s += 1) capacity = capacityAfter(capacity, live, NOON + s * 1_000);
    expect(capacity.size).toBe(80);
    expect(allowedStreams(capacity, { most: 50, now: NOON })).toBe(50);
  });

  test('a source that has given streams for hours gives them still', () => {
    let [capacity, now] = [NEW_CAPACITY, NOON];
    for (let at = 0; at < 1_100; at += 1) {
      capacity = JSON.parse(JSON.stringify(capacityAfter(capacity, live, (now += 5_000))));
      expect(allowedStreams(capacity, { most: 1_000, now })).toBeGreaterThan(4);
    }
    expect(allowedStreams(capacity, { most: 1_000, now })).toBe(1_000);
  });

  test.each([1_000, 10_000])(
    'a throttled opening halves at once what is allowed of %s, however long streams were live',
    (most) => {
      let [capacity, now] = [NEW_CAPACITY, NOON];
      for (let at = 0; at < 100; at += 1) {
        capacity = capacityAfter(capacity, live, (now += 5_000), most);
      }
      expect(allowedStreams(capacity, { most, now })).toBe(most);
      capacity = capacityAfter(capacity, { is: 'throttled' }, now, most);
      expect(allowedStreams(capacity, { most, now })).toBe(most / 2);
    },
  );

  test('a number that is beyond what was configured since is halved from there', () => {
    const wide = { ...NEW_CAPACITY, size: 8_000, changedAt: NOON };
    const halved = capacityAfter(wide, { is: 'throttled' }, NOON + 2_000, 100);
    expect(halved.size).toBe(50);
    expect(capacityAfter(wide, live, NOON + 5_000, 100).size).toBe(8_000);
    // No streams are configured, while the last ones end.
    expect(capacityAfter(wide, { is: 'throttled' }, NOON + 2_000, 0).size).toBe(1);
  });

  test('throttled and failed openings halve the number', () => {
    const wide = { ...NEW_CAPACITY, size: 80, changedAt: NOON };
    expect(capacityAfter(wide, { is: 'throttled' }, NOON + 2_000).size).toBe(40);
    expect(capacityAfter(wide, { is: 'failed', runId: 'a' }, NOON + 2_000).size).toBe(40);
  });

  test('refusals for three different runs end streams for ten minutes, then one is tried', () => {
    let capacity = NEW_CAPACITY;
    for (const runId of ['a', 'a', 'b']) {
      capacity = capacityAfter(capacity, { is: 'refused', runId }, NOON);
    }
    expect(allowedStreams(capacity, { most: 1_000, now: NOON })).toBe(5);
    expect(capacity.refused).toHaveLength(2);
    // What is known of a source outlives its runs, and their ids.
    expect(JSON.stringify(capacity)).not.toMatch(/"[ab]"/);
    capacity = capacityAfter(capacity, { is: 'refused', runId: 'c' }, NOON);
    expect(allowedStreams(capacity, { most: 1_000, now: NOON + 599_999 })).toBe(0);
    expect(allowedStreams(capacity, { most: 1_000, now: NOON + 600_000 })).toBe(1);
    const again = capacityAfter(capacity, { is: 'refused', runId: 'd' }, NOON + 600_001);
    expect(allowedStreams(again, { most: 1_000, now: NOON + 600_002 })).toBe(0);
    const recovered = capacityAfter(capacity, live, NOON + 600_001);
    expect(allowedStreams(recovered, { most: 1_000, now: NOON + 600_002 })).toBe(5);
  });

  test('a stream is likely to be had only after one was', () => {
    expect(isLikely(NEW_CAPACITY, NOON)).toBe(false);
    const capacity = capacityAfter(NEW_CAPACITY, live, NOON);
    expect(isLikely(capacity, NOON + 1_000)).toBe(true);
    expect(isLikely(capacity, NOON + 3_600_000)).toBe(false);
  });

  test('streams that break at once save no reads of runs with longer intervals', () => {
    let capacity = NEW_CAPACITY;
    for (let at = 0; at < 10; at += 1) {
      capacity = capacityAfter(capacity, { is: 'broken', afterMs: 2_000 }, NOON);
    }
    expect(isLastingFor(60_000, NEW_CAPACITY)).toBe(true);
    expect(isLastingFor(5_000, capacity)).toBe(false);
    expect(isLastingFor(500, capacity)).toBe(false);
    for (let at = 0; at < 10; at += 1) {
      capacity = capacityAfter(capacity, { is: 'lasted', afterMs: 60_000 }, NOON);
    }
    expect(isLastingFor(5_000, capacity)).toBe(true);
  });

  test('streams that end with short runs show that streams last', () => {
    let capacity = capacityAfter(NEW_CAPACITY, { is: 'broken', afterMs: 500 }, NOON);
    expect(isLastingFor(500, capacity)).toBe(false);
    for (let at = 0; at < 20; at += 1) {
      capacity = capacityAfter(capacity, { is: 'lasted', afterMs: 2_000 }, NOON);
    }
    expect(isLastingFor(500, capacity)).toBe(true);
    for (let at = 0; at < 1_000; at += 1) {
      const is = at % 2 === 0 ? 'broken' : 'lasted';
      capacity = capacityAfter(capacity, { is, afterMs: 2_000 }, NOON);
      expect(capacity.lifeMs).toBeLessThan(600_001);
    }
    expect(isLastingFor(500, capacity)).toBe(false);
  });

  test('whatever happens, the number stays between one and what is configured', () => {
    const outcome = fc.oneof(
      fc.constant(live),
      fc.record({
        is: fc.constantFrom('refused' as const, 'failed' as const),
        runId: fc.constantFrom('a', 'b', 'c'),
      }),
      fc.constant<StreamOutcome>({ is: 'throttled' }),
      fc.record({ is: fc.constant('broken' as const), afterMs: fc.nat(100_000) }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(outcome, fc.nat(20_000))), (turns) => {
        let [capacity, now] = [NEW_CAPACITY, NOON];
        for (const [one, ms] of turns) {
          now += ms;
          capacity = capacityAfter(capacity, one, now);
          const allowed = allowedStreams(capacity, { most: 1_000, now });
          expect(allowed).toBeLessThanOrEqual(1_000);
          expect(allowed >= 1 || capacity.refusedUntil > now).toBe(true);
        }
      }),
    );
  });
});

describe('watch of a streamed run', () => {
  const progressed = newWatch({ run: snapshot({ progress: 10 }), timeoutAt: NOON + 3_600_000 });

  /** When the watch is polled again after a poll. */
  const polledAgain = (watch: Watch, context: Partial<ObserveContext> = {}) => {
    const look = { kind: 'run', run: watch.run ?? snapshot() } as const;
    const ground = { ...observeContext(NOON), isStreamed: true, ...context };
    return (observe(watch, look, ground).watch.nextPollAt ?? 0) - NOON;
  };

  test('a run that is left to its stream is polled again after two minutes', () => {
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

  test('the nodes that a stream named go into the events of a poll', () => {
    const nodes = { executed: 3, remaining: 4, running: [], failed: ['node-4'] };
    const failed = { kind: 'run', run: snapshot({ status: 'failed' }) } as const;
    const { events } = observe(progressed, failed, { ...observeContext(NOON), nodes });
    expect(events[0]?.data.nodes).toEqual(nodes);
  });
});

test('urgent watches get a stream first, then those that are nearly done', () => {
  const watches = [
    { profile: 'frugal' as const, run: snapshot({ progress: 99 }) },
    { profile: 'normal' as const, run: snapshot({ progress: 10 }) },
    { profile: 'normal' as const, run: snapshot({ progress: 90 }) },
    { profile: 'urgent' as const, run: null },
  ];
  const order = watches.toSorted((a, b) => streamRank(a) - streamRank(b));
  expect(order).toEqual([watches[3], watches[2], watches[1], watches[0]]);
});
