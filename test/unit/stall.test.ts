import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { isoTime, type RunwatchEvent } from '../../src/core/event/event.ts';
import { emptyStatistics, learn, type Statistics } from '../../src/core/cadence/hazard.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { PollResult, RunSnapshot } from '../../src/core/run/snapshot.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { observeContext, newWatch, NOON, snapshot } from '../support/builders.ts';

const MINUTE = 60_000;
const AWAITING = 'awaiting_human_feedback';

/** Statistics by the name of the state; `*` stands for the workflow as a whole. */
type Learned = Record<string, Statistics>;

interface Moment {
  /** Minutes after noon. */
  at: number;
  see: Partial<RunSnapshot> | 'nothing';
  /** When the stream of the run last showed progress, minutes after noon. */
  progressedAt?: number;
}

/** Polls a run at certain times; polls after its end do not happen. */
function follow(moments: Moment[], learned: Learned = {}, watch: Watch = newWatch()) {
  const events: RunwatchEvent[] = [];
  for (const { at, see, progressedAt } of moments) {
    if (watch.state !== 'active') break;
    const result: PollResult =
      see === 'nothing'
        ? { kind: 'unavailable', message: 'status 500' }
        : { kind: 'run', run: snapshot({ observed_at: isoTime(NOON + at * MINUTE), ...see }) };
    const observation = observe(watch, result, {
      ...observeContext(NOON + at * MINUTE),
      statistics: (_source, _workflow, state) => learned[state ?? '*'],
      progressedAt: progressedAt === undefined ? null : NOON + progressedAt * MINUTE,
    });
    events.push(...observation.events);
    watch = observation.watch;
  }
  return { watch, events, told: events.map(inShort) };
}

function inShort({ type, data: { lasted_ms: lasted } }: RunwatchEvent): string {
  return lasted === undefined ? type : `${type} after ${lasted / MINUTE} min`;
}

/** Samples of these minutes each, all watched from beginning to end. */
function samples(...minutes: number[]): Statistics {
  return minutes.reduce((statistics, minute) => {
    const sample = { source: 'default', workflowId: 'workflow-1', state: 'running/0' };
    return learn(statistics, { ...sample, fromS: 0, toS: minute * 60, ended: true });
  }, emptyStatistics());
}

const at = (minute: number, progress = 0): Moment => ({ at: minute, see: { progress } });

describe('a run that remains in one state', () => {
  test('a run stalls once after half an hour, and recovers once when it moves on', () => {
    const moments = [at(0), at(29.9), at(30), at(31), at(90), at(91, 10), at(92, 20)];
    expect(follow(moments).told.filter((type) => type !== 'run.progress')).toEqual([
      'run.stalled after 30 min',
      'run.recovered after 91 min',
    ]);
  });

  test('a run may stall again in its next state', () => {
    const moments = [at(0), at(30), at(31, 10), at(60, 10), at(61, 10)];
    expect(follow(moments).told).toEqual([
      'run.stalled after 30 min',
      'run.recovered after 31 min',
      'run.progress',
      'run.stalled after 30 min',
    ]);
  });

  test('a run is in the same state while its progress remains within ten per cent', () => {
    const moments = [at(0, 30), at(20, 39), at(31, 35)];
    expect(follow(moments).told).toContain('run.stalled after 31 min');
    expect(follow([at(0, 30), at(20, 40), at(31, 45)]).told).toEqual([
      'run.progress',
      'run.progress',
    ]);
  });

  test("a run's state began at Noxus's time if the first poll shows one", () => {
    const old = { created_at: '2025-12-31T22:00:00.000Z', started_at: '2025-12-31T23:00:00.000Z' };
    const firstCheck = (see: Partial<RunSnapshot>) => follow([{ at: 0, see: { ...old, ...see } }]);
    expect(firstCheck({ status: 'queued' }).told).toEqual(['run.stalled after 120 min']);
    expect(firstCheck({ status: 'running' }).told).toEqual(['run.stalled after 60 min']);
    expect(firstCheck({ status: 'running', progress: 50 }).told).toEqual([]);
    expect(firstCheck({ created_at: '2026-01-01T09:00:00.000Z' }).watch.dwell?.since).toBe(
      Date.parse(old.started_at),
    );
  });

  test('a state that a late poll sees began when the stream of the run last showed progress', () => {
    const late = { ...at(20, 40), progressedAt: 3 };
    expect(follow([at(0), late]).watch.nextPollAt).toBeLessThanOrEqual(NOON + 33 * MINUTE);
    expect(follow([at(0), late, at(33, 40)]).told).toContain('run.stalled after 30 min');
    expect(follow([at(0), at(20, 40), at(33, 40)]).told).not.toContain('run.stalled after 30 min');
  });

  test('a state began after the last poll that saw another one, whatever stream or Noxus say', () => {
    const moved = { ...at(20, 40), progressedAt: 3 };
    expect(follow([at(0), at(10), moved]).watch.dwell?.since).toBe(NOON + 20 * MINUTE);
    const started = { status: 'running', started_at: '2026-01-01T00:05:00.000Z' };
    const starts = (minute: number): Moment[] => [
      { at: minute, see: { status: 'queued' } },
      { at: 20, see: started },
    ];
    expect(follow(starts(0)).watch.dwell?.since).toBe(NOON + 5 * MINUTE);
    expect(follow(starts(10)).watch.dwell?.since).toBe(NOON + 10 * MINUTE);
  });

  test('a run stalls by a poll that sees it, never by one that fails', () => {
    const blind: Moment[] = [1, 31, 60].map((minute) => ({ at: minute, see: 'nothing' }));
    const { told } = follow([at(0), ...blind, at(61)]);
    expect(told).toEqual(['watch.unreachable', 'watch.recovered', 'run.stalled after 61 min']);
  });

  test('a run is polled when it would stall, however long its interval', () => {
    expect(follow([at(0), at(29.8)]).watch.nextPollAt).toBe(NOON + 30 * MINUTE);
  });

  test.each([
    ['completes', 'completed', ['run.recovered after 40 min', 'run.completed']],
    ['fails', 'failed', ['run.failed']],
    ['is stopped', 'stopped', ['run.stopped']],
    ['asks a human', AWAITING, ['run.recovered after 40 min', `run.${AWAITING}`]],
  ])('a stalled run that then %s recovers as it should', (_, status, expected) => {
    const { told } = follow([at(0), at(30), { at: 40, see: { status } }]);
    expect(told).toEqual(['run.stalled after 30 min', ...expected]);
  });

  test('a run does not stall while it waits for a human, however long', () => {
    const waits = (minute: number): Moment => ({ at: minute, see: { status: AWAITING } });
    expect(follow([waits(0), waits(300), waits(9_000)]).told).toEqual([`run.${AWAITING}`]);
  });
});

describe('statistics of a state', () => {
  const moments = [10, 31, 44, 60, 76, 91, 151].map((minute) => at(minute));
  const stalledAfter = (learned: Learned) =>
    follow([at(0), ...moments], learned).events.map(({ data }) => (data.lasted_ms ?? 0) / MINUTE);

  test('a run stalls at 1.5 times the usual time, if that is longer', () => {
    const hundred = Array.from({ length: 300 }, (_, index) => 20 + index / 10);
    const [event] = follow([at(0), ...moments], { 'running/0': samples(...hundred) }).events;
    const usual = (event?.data.usual_ms ?? 0) / MINUTE;
    expect(usual).toBeGreaterThan(44);
    expect(usual).toBeLessThan(55);
    expect((event?.data.lasted_ms ?? 0) / MINUTE).toBe(76);
  });

  test('statistics do not make a run stall sooner than half an hour', () => {
    expect(stalledAfter({ 'running/0': samples(...Array.from({ length: 300 }, () => 1)) })).toEqual(
      [31],
    );
  });

  test('the usual time is the longest sample while there are too few for a p99', () => {
    expect(stalledAfter({ 'running/0': samples(50) })).toEqual([76]);
    expect(stalledAfter({ 'running/0': samples(5, 50, 5) })).toEqual([76]);
  });

  test('the usual time is that of the whole workflow where the state has no statistics', () => {
    expect(stalledAfter({ '*': samples(50) })).toEqual([76]);
    expect(stalledAfter({ '*': samples(50), 'running/0': samples(1) })).toEqual([31]);
  });

  test('the usual time after feedback is that of runs with feedback', () => {
    const start: Moment[] = [at(0), { at: 1, see: { status: AWAITING } }];
    const { told } = follow([...start, at(2, 40), at(33, 40), at(76, 40), at(78, 40)], {
      resumed: samples(50),
      'running/40': samples(1),
    });
    expect(told.at(-1)).toBe('run.stalled after 76 min');
  });

  test('a run without statistics still stalls', () => {
    const { events } = follow([at(0), at(31)], { 'running/0': emptyStatistics() });
    expect(events.map(({ data }) => data.usual_ms)).toEqual([null]);
  });
});

test('whatever a run does, it stalls at most once in each state, and recovers as often', () => {
  const moment = fc.record({
    gap: fc.double({ min: 0.1, max: 40, noNaN: true }),
    status: fc.constantFrom('queued', 'running', 'running', 'running', AWAITING, 'odd', 'failed'),
    progress: fc.constantFrom(0, 5, 30),
  });
  fc.assert(
    fc.property(fc.array(moment, { maxLength: 40 }), (steps) => {
      let minute = 0;
      const moments = steps.map(({ gap, status, progress }) => {
        return { at: (minute += gap), see: { status, progress } };
      });
      const { watch, events } = follow(moments);
      let isStalled = false;
      for (const { type, data } of events) {
        if (type === 'run.stalled' || type === 'run.recovered') {
          expect(isStalled).toBe(type === 'run.recovered');
          isStalled = !isStalled;
        }
        if (type === 'run.stalled') expect(data.lasted_ms).toBeGreaterThanOrEqual(30 * MINUTE);
      }
      if (watch.state === 'active') expect(watch.dwell?.stalled ?? false).toBe(isStalled);
    }),
  );
});
