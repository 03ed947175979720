import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { observe } from '../../src/core/watch/observe.ts';
import { isOldNotice } from '../../src/core/watch/waits.ts';
import type { RunwatchEvent } from '../../src/core/event/event.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, observeContext, POLICY, snapshot } from '../support/builders.ts';

const AWAITING = 'awaiting_human_feedback';
const HOUR = 3_600_000;
const policy = { ...POLICY, remindAfterMs: [HOUR, 24 * HOUR] };

interface Look {
  /** Milliseconds after noon. */
  at: number;
  status: string;
}

/** Polls a run as it is at certain times; polls after its end do not happen. */
function follow(looks: Look[], watch: Watch = newWatch()) {
  const events: RunwatchEvent[] = [];
  for (const { at, status } of looks) {
    if (watch.state !== 'active') break;
    const run = snapshot({ status });
    const context = { ...observeContext(NOON + at), policy };
    const observation = observe(watch, { kind: 'run', run }, context);
    events.push(...observation.events);
    watch = observation.watch;
  }
  return { watch, events, told: events.map(inShort) };
}

function inShort({ type, data: { reminder, waited_ms: waited } }: RunwatchEvent): string {
  const words = [type, reminder === undefined ? '' : `reminder ${reminder}`];
  return [...words, waited === undefined ? '' : `after ${waited / HOUR} h`]
    .filter((word) => word !== '')
    .join(' ');
}

const waits = (at: number): Look => ({ at, status: AWAITING });

/** Two polls that find the run going on: one alone does not end a wait. */
const goesOn = (at: number): Look[] => [
  { at: at - 1_000, status: 'running' },
  { at, status: 'running' },
];

describe('a run that waits for an event', () => {
  test('a run that waits for an event has reminders as one that waits for a human, and may wait on as one', () => {
    const event = (at: number): Look => ({ at, status: 'awaiting_event' });
    const { told, watch } = follow([waits(0), event(HOUR / 2), event(1.2 * HOUR), event(2 * HOUR)]);
    expect(told).toEqual([
      'run.awaiting_human_feedback',
      'run.awaiting_human_feedback reminder 1 after 1.2 h',
    ]);
    expect(watch).toMatchObject({ dwell: null, unknownStatuses: [] });
  });
});

describe('a run that waits for a human', () => {
  test('a waiting run has one reminder at each configured time', () => {
    const looks = [0, 0.5, 1, 1.1, 2, 23.9, 24, 25, 99].map((hours) => waits(hours * HOUR));
    expect(follow(looks).told).toEqual([
      'run.awaiting_human_feedback',
      'run.awaiting_human_feedback reminder 1 after 1 h',
      'run.awaiting_human_feedback reminder 2 after 24 h',
    ]);
  });

  test('a waiting run is polled when a reminder is due, however long its interval', () => {
    const { watch } = follow([waits(0)]);
    const late = { ...watch, cadence: { ...watch.cadence, intervalMs: 60_000 } };
    expect(follow([waits(HOUR - 5_000)], late).watch.nextPollAt).toBe(NOON + HOUR);
    const early = follow([waits(HOUR - 10)], late).watch;
    expect(early.nextPollAt).toBe(NOON + HOUR - 10 + policy.minIntervalMs);
  });

  test('an acknowledged run has no reminder until the acknowledgement expires', () => {
    const { watch } = follow([waits(0)]);
    const acknowledged = { by: 'ana', comment: null, at: NOON, until: NOON + 2 * HOUR };
    const held = follow([waits(HOUR), waits(1.5 * HOUR)], { ...watch, acknowledged });
    expect(held.told).toEqual([]);
    expect(held.watch).toMatchObject({ acknowledged });
    const late = { ...held.watch, cadence: { ...watch.cadence, intervalMs: 60_000 } };
    const before = follow([waits(2 * HOUR - 20_000)], late).watch;
    expect(before.nextPollAt).toBe(NOON + 2 * HOUR);
    const after = follow([waits(2 * HOUR)], before);
    expect(after.told).toEqual(['run.awaiting_human_feedback reminder 1 after 2 h']);
    expect(after.watch.acknowledged).toBeNull();
  });

  test('an acknowledgement ends with the state that it is about', () => {
    const { watch } = follow([waits(0)]);
    const acknowledged = { by: 'ana', comment: null, at: NOON, until: null };
    const { watch: later, told } = follow([waits(50 * HOUR), ...goesOn(51 * HOUR)], {
      ...watch,
      acknowledged,
    });
    expect(told).toEqual(['run.resumed after 51 h']);
    expect(later.acknowledged).toBeNull();
  });

  test('several reminders that came due between polls yield one event', () => {
    expect(follow([waits(0), waits(48 * HOUR), waits(49 * HOUR)]).told).toEqual([
      'run.awaiting_human_feedback',
      'run.awaiting_human_feedback reminder 2 after 48 h',
    ]);
  });

  test('a poll that finds the run continued, or fails, yields no reminder', () => {
    const { watch } = follow([waits(0)]);
    const context = { ...observeContext(NOON + 2 * HOUR), policy };
    const blind = observe(watch, { kind: 'unavailable', message: 'status 500' }, context);
    expect(blind.events).toEqual([]);
    expect(follow(goesOn(2 * HOUR), blind.watch).told).toEqual(['run.resumed after 2 h']);
  });

  test('a run says how long it waited when it goes on, and when it ends', () => {
    expect(follow([waits(0), { at: HOUR / 2, status: 'stopped' }]).told).toEqual([
      'run.awaiting_human_feedback',
      'run.resumed after 0.5 h',
      'run.stopped after 0.5 h',
    ]);
  });

  test('reminders begin anew with the next wait', () => {
    const looks = [waits(0), waits(HOUR), ...goesOn(2 * HOUR)];
    const told = follow([...looks, waits(3 * HOUR), waits(4 * HOUR)]).told;
    expect(told).toEqual([
      'run.awaiting_human_feedback',
      'run.awaiting_human_feedback reminder 1 after 1 h',
      'run.resumed after 2 h',
      'run.awaiting_human_feedback',
      'run.awaiting_human_feedback reminder 1 after 1 h',
    ]);
  });

  test('a wait from a version without reminders counts from the first poll that has them', () => {
    const older = { ...follow([waits(0)]).watch, waiting: null };
    expect(follow([waits(5 * HOUR), waits(6 * HOUR)], older).told).toEqual([
      'run.awaiting_human_feedback reminder 1 after 1 h',
    ]);
  });
});

describe('a notice that was held up', () => {
  test('a delayed notice is current while the run still waits: the first event and the last reminder', () => {
    const { watch, events } = follow([waits(0), waits(HOUR), waits(24 * HOUR)]);
    expect(events.map(({ id }) => isOldNotice(watch, id))).toEqual([false, true, false]);
    expect(watch.notice).toEqual({ eventId: events[0]?.id, type: 'run.awaiting_human_feedback' });
  });

  test('a delayed notice is outdated once the run has gone on, even to wait again', () => {
    const { watch, events } = follow([
      waits(0),
      waits(HOUR),
      { at: 2 * HOUR, status: 'running' },
      waits(3 * HOUR),
    ]);
    const notices = events.filter(({ type }) => type === 'run.awaiting_human_feedback');
    expect(notices.map(({ id }) => isOldNotice(watch, id))).toEqual([true, true, false]);
  });
});

test('whatever a run does, no reminder number of a wait repeats or comes out of order', () => {
  const look = fc.record({
    gap: fc.integer({ min: 1, max: 30 * HOUR }),
    status: fc.constantFrom(AWAITING, AWAITING, AWAITING, 'running', 'odd', 'completed'),
  });
  fc.assert(
    fc.property(fc.array(look, { maxLength: 30 }), (steps) => {
      let at = 0;
      const { events } = follow(steps.map(({ gap, status }) => ({ at: (at += gap), status })));
      let last = 0;
      for (const { type, data } of events) {
        if (type !== 'run.awaiting_human_feedback') continue;
        expect(data.reminder ?? 0).toBeGreaterThanOrEqual(
          data.reminder === undefined ? 0 : last + 1,
        );
        last = data.reminder ?? 0;
      }
      expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    }),
  );
});
