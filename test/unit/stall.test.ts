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
}

/** Polls a run at certain times; polls after its end do not happen. */
function follow(moments: Moment[], learned: Learned = {}, watch: Watch = newWatch()) {
  const events: RunwatchEvent[] = [];
  for (const { at, see } of moments) {
    if (watch.state !== 'active') break;
    const result: PollResult =
      see === 'nothing'
        ? { kind: 'unavailable', message: 'status 500' }
        : { kind: 'run', run: snapshot({ observed_at: isoTime(NOON + at * MINUTE), ...see }) };
    const observation = observe(watch, result, {
      ...observeContext(NOON + at * MINUTE),
      statistics: (_source, _workflow, state) => learned[state ?? '*'],
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
  test('a run stalls once after half an hour, by the second read that finds it, and recovers once', () => {
    const moments = [at(0), at(29.9), at(30), at(30.1), at(31), at(90), at(91, 10), at(92, 20)];
    expect(follow(moments).told.filter((type) => type !== 'run.progress')).toEqual([
      'run.stalled after 30.1 min',
      'run.recovered after 91 min',
    ]);
  });

  test('a run may stall again in its next state', () => {
    const moments = [at(0), at(30), at(30), at(31, 10), at(61, 10), at(61, 10)];
    expect(follow(moments).told).toEqual([
      'run.stalled after 30 min',
      'run.recovered after 31 min',
      'run.progress',
      'run.stalled after 30 min',
    ]);
  });

  test('a run that moves on after a first read found it too long is not stalled', () => {
    expect(follow([at(0, 41), at(45, 49), at(45.1, 50)]).told).not.toContain('run.stalled');
    expect(follow([at(0, 41), at(45, 49)]).watch.nextPollAt).toBe(NOON + 45 * MINUTE + 1_000);
  });

  test('a run is in the same state while its progress remains within ten per cent', () => {
    const moments = [at(0, 30), at(20, 39), at(30, 39), at(31, 39)];
    expect(follow(moments).told).toContain('run.stalled after 31 min');
    expect(follow([at(0, 30), at(20, 40), at(31, 45), at(32, 45)]).told).toEqual([
      'run.progress',
      'run.progress',
    ]);
  });

  test('the state of a run that is queued at the first read began with the run', () => {
    const queued = { status: 'queued', created_at: '2025-12-31T22:00:00.000Z', started_at: null };
    const reads = (see: Partial<RunSnapshot>) =>
      follow([
        { ...at(0), see },
        { ...at(0), see },
      ]);
    expect(reads(queued).told).toEqual(['run.stalled after 120 min']);
    expect(reads({ ...queued, started_at: '2025-12-31T23:00:00.000Z' }).told).toEqual([]);
    expect(reads({ ...queued, status: 'running' }).told).toEqual([]);
    for (const none of ['1970-01-01T00:00:00.000Z', '0001-01-01T00:00:00.000Z']) {
      expect(reads({ ...queued, created_at: none }).told).toEqual([]);
    }
  });

  test("a state began with the read that first saw it, whatever Noxus says of the run's start", () => {
    const started = { status: 'running', started_at: '2026-01-01T00:05:00.000Z' };
    const moments: Moment[] = [
      { at: 0, see: { status: 'queued' } },
      { at: 20, see: started },
    ];
    expect(follow(moments).watch.dwell?.since).toBe(NOON + 20 * MINUTE);
    expect(follow([at(0), at(20, 40)]).watch.dwell?.since).toBe(NOON + 20 * MINUTE);
  });

  test('a run stalls by a poll that sees it, never by one that fails', () => {
    const blind: Moment[] = [1, 31, 60].map((minute) => ({ at: minute, see: 'nothing' }));
    const { told } = follow([at(0), ...blind, at(61), at(62)]);
    expect(told).toEqual(['watch.unreachable', 'watch.recovered', 'run.stalled after 62 min']);
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
    const { told } = follow([at(0), at(30), at(30), { at: 40, see: { status } }]);
    expect(told).toEqual(['run.stalled after 30 min', ...expected]);
  });

  test('a run does not stall while it waits for a human, however long', () => {
    const waits = (minute: number): Moment => ({ at: minute, see: { status: AWAITING } });
    expect(follow([waits(0), waits(300), waits(9_000)]).told).toEqual([`run.${AWAITING}`]);
  });
});

describe('statistics of a state', () => {
  const moments = [10, 31, 31, 44, 60, 76, 76, 91, 151].map((minute) => at(minute));
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
    const { told } = follow([...start, at(2, 40), at(33, 40), at(76, 40), at(78, 40), at(78, 40)], {
      resumed: samples(50),
      'running/40': samples(1),
    });
    expect(told.at(-1)).toBe('run.stalled after 76 min');
  });

  test('a run without statistics still stalls', () => {
    const { events } = follow([at(0), at(31), at(31)], { 'running/0': emptyStatistics() });
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

describe('reads with gaps', () => {
  const STALL_AFTER = 30;
  /** From a request to the write of its answer. */
  const TOOK_MS = 20_000;

  /** A state of a run, minutes after noon. */
  interface State {
    status: string;
    progress: number;
    from: number;
    to: number;
  }

  /** A time without a valid answer: reads fail, or there are none. */
  interface Gap {
    from: number;
    to: number;
    isTried: boolean;
  }

  /** Each state of a run once: progress grows by more than a state holds. */
  const states = fc
    .array(
      fc.record({
        status: fc.constantFrom('running', 'running', AWAITING, 'odd'),
        lasts: fc.oneof(
          fc.double({ min: 0.5, max: 29, noNaN: true }),
          fc.constantFrom(31, 60, 200),
        ),
      }),
      { minLength: 1, maxLength: 8 },
    )
    .map((steps) => {
      let from = 0;
      return steps.map(({ status, lasts }, index): State => {
        const name = status === 'odd' ? `odd-${index}` : status;
        const state = { from, to: from + lasts, progress: index * 11 };
        from = state.to;
        return { ...state, status: index === 0 ? 'queued' : name };
      });
    });

  /** Many begin soon after a state does, so that no read sees that state before. */
  const gaps = fc.array(
    fc.record({
      index: fc.nat(7),
      after: fc.oneof(
        fc.double({ min: 0, max: 2, noNaN: true }),
        fc.double({ min: 0, max: 200, noNaN: true }),
      ),
      lasts: fc.double({ min: 1, max: 120, noNaN: true }),
      isTried: fc.boolean(),
    }),
    { maxLength: 4 },
  );

  /** How late reads are, in turn, minutes: what a list shows unchanged is read later. */
  const lags = fc.array(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 3, noNaN: true })), {
    minLength: 1,
    maxLength: 5,
  });

  /** Reads a run whenever a read is due. @returns each state that was called stalled, and when */
  function play(run: State[], unread: Gap[], { isStreamed, late }: Reads) {
    const stalled: { at: number; state: State }[] = [];
    let watch = newWatch();
    let minute = 0;
    for (let reads = 0; ; reads += 1) {
      const gap = unread.find(({ from, to }) => minute >= from && minute < to);
      if (gap?.isTried === false) {
        minute = gap.to;
        continue;
      }
      const state = run.find(({ from, to }) => minute >= from && minute < to);
      if (state === undefined) return stalled;
      const askedAt = NOON + minute * MINUTE;
      const { status, progress } = state;
      const seen = snapshot({ observed_at: isoTime(askedAt + TOOK_MS), status, progress });
      const observation = observe(
        watch,
        gap ? { kind: 'unavailable', message: 'status 503' } : { kind: 'run', run: seen },
        { ...observeContext(askedAt + TOOK_MS), beganAt: askedAt, isStreamed },
      );
      const isNews = observation.events.some(({ type }) => type === 'run.stalled');
      if (isNews) stalled.push({ at: minute, state });
      ({ watch } = observation);
      const dueAt = watch.nextPollAt ?? Infinity;
      minute = (dueAt - NOON) / MINUTE + (late[reads % late.length] ?? 0);
    }
  }

  interface Reads {
    isStreamed: boolean;
    late: number[];
  }

  test('a run is stalled exactly where it stands, wherever there are gaps between its reads', () => {
    const reads = fc.record({ isStreamed: fc.boolean(), late: lags });
    fc.assert(
      fc.property(states, gaps, reads, (run, places, how) => {
        const unread = places.map(({ index, after, lasts, isTried }): Gap => {
          const from = (run[index % run.length]?.from ?? 0) + after;
          return { from, to: from + lasts, isTried };
        });
        const stalled = play(run, unread, how);
        for (const { at: minute, state } of stalled) {
          expect(minute - state.from).toBeGreaterThanOrEqual(STALL_AFTER);
        }
        for (const state of run.filter(({ status }) => status !== AWAITING)) {
          const ends = unread.filter(({ from }) => from < state.to).map(({ to }) => to);
          const readFor = state.to - Math.max(state.from, ...ends);
          if (readFor < STALL_AFTER + 15) continue;
          expect(stalled.filter((one) => one.state === state)).toHaveLength(1);
        }
      }),
      { numRuns: 200 },
    );
  });
});
