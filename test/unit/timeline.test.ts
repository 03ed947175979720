import { describe, expect, test } from '@jest/globals';
import { newDelivery, type Attempt } from '../../src/core/delivery/delivery.ts';
import { isoTime, type RunwatchEvent } from '../../src/core/event/event.ts';
import type { PollResult, RunSnapshot } from '../../src/core/run/snapshot.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { timelineOf } from '../../src/core/watch/timeline.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';

/** A poll result, and when its poll began and ended, ms after noon. */
interface Poll {
  from: number;
  to: number;
  result: Partial<RunSnapshot> | PollResult;
}

/** The timeline of a run that was registered at noon and polled so. */
function timelineAfter(polls: Poll[]) {
  let watch = newWatch();
  const events: RunwatchEvent[] = [];
  for (const { from, to, result } of polls) {
    const seen: PollResult = 'kind' in result ? result : { kind: 'run', run: snapshot(result) };
    const context = { ...observeContext(NOON + to), beganAt: NOON + from, lagMs: 5 };
    const observed = observe(watch, seen, context);
    watch = observed.watch;
    events.push(...observed.events);
  }
  return { watch, ...timelineOf({ watch, events, deliveries: [], isCut: false }) };
}

const at = (ms: number) => isoTime(NOON + ms);

/** States as text: from to, ms after noon, status and progress. */
function inShort({ states }: Pick<ReturnType<typeof timelineAfter>, 'states'>): string[] {
  return states.map(({ at: from, until, status, progress }) => {
    const to = until === null ? '' : String(until - NOON);
    return `${from - NOON}–${to} ${status} ${progress ?? '?'}`;
  });
}

describe('states of a timeline', () => {
  test('the states of a run begin when Noxus says, else when a poll saw them', () => {
    const created = { created_at: at(-5_000), started_at: null };
    const started = { ...created, started_at: at(1_500) };
    const timeline = timelineAfter([
      { from: 0, to: 40, result: { ...created, status: 'queued' } },
      { from: 2_000, to: 2_040, result: { ...started, progress: 10 } },
      { from: 3_000, to: 3_040, result: { ...started, progress: 10 } },
      { from: 4_000, to: 4_040, result: { ...started, progress: 60 } },
      {
        from: 6_000,
        to: 6_040,
        result: { ...started, progress: 60, status: 'failed', finished_at: at(5_200) },
      },
    ]);
    expect(inShort(timeline)).toEqual([
      '-5000–1500 queued 0',
      '1500–4040 running 10',
      '4040–5200 running 60',
      '5200– failed 60',
    ]);
  });

  test('a run that was found to run has waited from its creation to its start', () => {
    const times = { created_at: at(-9_000), started_at: at(-7_000) };
    const timeline = timelineAfter([{ from: 0, to: 40, result: { ...times, progress: 30 } }]);
    expect(inShort(timeline)).toEqual(['-9000–-7000 queued ?', '-7000– running 30']);
  });

  test('a run that was found to have ended has states by its own times', () => {
    const times = { created_at: at(-9_000), started_at: at(-7_000), finished_at: at(-1_000) };
    const ended = { ...times, status: 'completed', progress: 100 };
    expect(inShort(timelineAfter([{ from: 0, to: 40, result: ended }]))).toEqual([
      '-9000–-7000 queued ?',
      '-7000–-1000 running ?',
      '-1000– completed 100',
    ]);
  });

  test('a run that nothing was seen of has no states', () => {
    const timeline = timelineAfter([{ from: 0, to: 40, result: { kind: 'not_found' } }]);
    expect(timeline.states).toEqual([]);
    expect(timeline.polls).toMatchObject([{ outcome: 'not_found', durationMs: 40, lagMs: 5 }]);
  });
});

describe('delays of a timeline', () => {
  test('the delay of an event is split into waiting for the poll and the poll', () => {
    const { events } = timelineAfter([
      { from: 0, to: 40, result: {} },
      { from: 6_000, to: 6_040, result: { status: 'failed', finished_at: at(5_200) } },
    ]);
    expect(events).toHaveLength(1);
    const [{ event, split }] = events as [(typeof events)[number]];
    expect(split).toEqual({ waitingMs: 800, pollMs: 40 });
    expect(event.data.detection_delay_ms).toBe(840);
  });

  test('a run that ends while it is polled has not waited for the poll', () => {
    const { events } = timelineAfter([
      { from: 0, to: 40, result: {} },
      { from: 5_000, to: 5_040, result: { status: 'failed', finished_at: at(5_010) } },
    ]);
    expect(events[0]?.split).toEqual({ waitingMs: 0, pollMs: 30 });
  });

  test('a change that Noxus does not date has an unknown wait, and none without its poll', () => {
    const { events, watch } = timelineAfter([
      { from: 0, to: 40, result: {} },
      { from: 5_000, to: 5_040, result: { status: 'awaiting_human_feedback' } },
    ]);
    expect(events[0]?.split).toEqual({ waitingMs: null, pollMs: 40 });
    const forgotten = { ...watch, pollHistory: { count: 0, text: '' } };
    const own = events.map(({ event }) => event);
    const later = timelineOf({ watch: forgotten, events: own, deliveries: [], isCut: false });
    expect(later.events[0]?.split).toEqual({ waitingMs: null, pollMs: null });
  });

  test('the delay of a delivery is split into relay and receiver', () => {
    const event = { id: 'evt_1', type: 'run.failed' } as const;
    const pending = newDelivery(newWatch(), event, 'ops', NOON);
    const attempt = (from: number): Attempt => ({
      at: NOON + from,
      status: 500,
      error: null,
      durationMs: 10,
      response: null,
    });
    const delivered = { ...pending, deliveredAt: NOON + 5_100 };
    const deliveries = [
      { delivery: pending, attempts: [] },
      { delivery: pending, attempts: [attempt(3)] },
      { delivery: delivered, attempts: [attempt(3), attempt(5_000)] },
    ];
    const timeline = timelineOf({ watch: newWatch(), events: [], deliveries, isCut: false });
    expect(timeline.deliveries.map(({ split }) => split)).toEqual([
      { relayMs: null, receiverMs: null },
      { relayMs: 3, receiverMs: null },
      { relayMs: 3, receiverMs: 5_097 },
    ]);
  });
});
