import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { diffRun, buildEvent, mayReport } from '../../src/core/run/transition.ts';
import { EVENT_TYPES, isoTime, type EventType } from '../../src/core/event/event.ts';
import { isTerminalStatus, KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import { snapshot, newMark, newWatch, NOON } from '../support/builders.ts';
import { noLinks } from '../../src/core/run/links.ts';

const status = fc.constantFrom(...KNOWN_STATUSES, 'cancelling', 'paused');
const look = fc.record({ status, progress: fc.integer() }).map(snapshot);
const waiting = 'awaiting_human_feedback';
const unreported = () => true;

describe('transitions between two snapshots', () => {
  test.each([
    ['completed', ['run.completed']],
    ['failed', ['run.failed']],
    ['stopped', ['run.stopped']],
    [waiting, ['run.awaiting_human_feedback']],
    ['awaiting_event', ['run.awaiting_human_feedback']],
    ['cancelling', ['run.status_unknown']],
    ['queued', []],
    ['running', []],
  ])('a first snapshot with status %s yields its events', (seen, expected) => {
    expect(diffRun(null, snapshot({ status: seen, progress: 30 }), unreported)).toEqual(expected);
  });

  test.each([
    ['queued', 'running', ['run.started']],
    ['queued', 'completed', ['run.completed']],
    ['running', 'queued', []],
    [waiting, 'running', ['run.resumed']],
    [waiting, 'queued', ['run.resumed']],
    [waiting, 'failed', ['run.resumed', 'run.failed']],
    [waiting, 'cancelling', ['run.resumed', 'run.status_unknown']],
    ['running', waiting, ['run.awaiting_human_feedback']],
    ['running', 'awaiting_event', ['run.awaiting_human_feedback']],
    [waiting, 'awaiting_event', ['run.awaiting_human_feedback']],
    ['awaiting_event', 'running', ['run.resumed']],
    ['running', 'stopped', ['run.stopped']],
    ['cancelling', 'running', []],
  ])('a transition from %s to %s yields its events', (from, to, expected) => {
    expect(diffRun(snapshot({ status: from }), snapshot({ status: to }), unreported)).toEqual(
      expected,
    );
  });

  test('missing progress yields no event', () => {
    const [known, unknown] = [snapshot({ progress: 40 }), snapshot({ progress: null })];
    expect(diffRun(known, unknown, unreported)).toEqual([]);
    expect(diffRun(unknown, known, unreported)).toEqual(['run.progress']);
  });

  test('run.progress comes after leaving a state and before entering one', () => {
    const before = snapshot({ status: waiting, progress: 40 });
    const after = snapshot({ status: 'completed', progress: 100 });
    expect(diffRun(before, after, unreported)).toEqual([
      'run.resumed',
      'run.progress',
      'run.completed',
    ]);
  });

  test('progress that falls or leaves 0–100 yields run.progress too', () => {
    expect(diffRun(snapshot({ progress: 99 }), snapshot({ progress: -3 }), unreported)).toEqual([
      'run.progress',
    ]);
  });

  test('an unknown status yields an event where it may be reported, also once it has lasted', () => {
    const [running, paused] = [snapshot({ status: 'running' }), snapshot({ status: 'paused' })];
    expect(diffRun(running, paused, () => false)).toEqual([]);
    expect(diffRun(paused, paused, unreported)).toEqual(['run.status_unknown']);
  });

  test('an unknown status is reported once per value, and at most 20 of a watch are', () => {
    const reported = (count: number) => ({
      unknownStatuses: Array.from({ length: count }, (_, at) => `made-up-${at}`),
      unknownAt: [],
    });
    expect(mayReport(reported(19), 'made-up-18', NOON)).toBe(false);
    expect(mayReport(reported(19), 'made-up-19', NOON)).toBe(true);
    expect(mayReport(reported(20), 'made-up-20', NOON)).toBe(false);
  });

  test('a snapshot compared with itself yields no event', () => {
    fc.assert(fc.property(look, (one) => expect(diffRun(one, one, () => false)).toEqual([])));
  });

  test('a terminal event occurs exactly when a terminal status is entered, and comes last', () => {
    fc.assert(
      fc.property(fc.option(look, { nil: null }), look, (before, after) => {
        const types = diffRun(before, after, unreported);
        const entered = before?.status !== after.status && isTerminalStatus(after.status);
        const terminal = types.filter((type) =>
          ['run.completed', 'run.failed', 'run.stopped'].includes(type),
        );
        expect(terminal).toHaveLength(entered ? 1 : 0);
        if (entered) expect(types.at(-1)).toBe(`run.${after.status}`);
      }),
    );
  });

  test('each type occurs once per transition, and only types of the contract occur', () => {
    fc.assert(
      fc.property(fc.option(look, { nil: null }), look, (before, after) => {
        const types = diffRun(before, after, unreported);
        expect(new Set(types).size).toBe(types.length);
        for (const type of types) expect(EVENT_TYPES).toContain(type);
      }),
    );
  });

  test('each awaiting state that is entered or left yields an event', () => {
    fc.assert(
      fc.property(fc.array(status, { minLength: 1, maxLength: 30 }), (statuses) => {
        const looks = statuses.map((one) => snapshot({ status: one }));
        const types = looks.flatMap((one, at) => diffRun(looks[at - 1] ?? null, one, unreported));
        const entered = statuses.filter((one, at) => one === waiting && statuses[at - 1] !== one);
        const left = statuses.filter((one, at) => one !== waiting && statuses[at - 1] === waiting);
        expect(types.filter((type) => type === 'run.awaiting_human_feedback')).toHaveLength(
          entered.length,
        );
        expect(types.filter((type) => type === 'run.resumed')).toHaveLength(left.length);
      }),
    );
  });
});

/** An event of a poll at noon. */
function event(type: EventType, finishedAt: number | null) {
  const run = snapshot({
    status: 'completed',
    finished_at: finishedAt === null ? null : isoTime(finishedAt),
  });
  const before = newWatch({ registeredAt: NOON - 1_000 });
  const change = {
    before,
    after: { ...before, run },
    now: NOON,
    newMark,
    linksOf: noLinks,
    nodes: null,
  };
  return buildEvent(change, { type }, 1);
}

describe('detection delay of an event', () => {
  test.each(['run.completed', 'run.failed', 'run.stopped', 'run.progress', 'run.resumed'] as const)(
    "%s has a detection delay if Noxus dates the run's end",
    (type) => {
      expect(event(type, NOON - 812).data.detection_delay_ms).toBe(812);
    },
  );

  test('a detection delay is never negative, and null where Noxus dates no end', () => {
    expect(event('run.completed', NOON + 5_000).data.detection_delay_ms).toBe(0);
    expect(event('run.completed', null).data.detection_delay_ms).toBeNull();
  });

  test('the detection delay is null for a run that ended before it was registered', () => {
    expect(event('run.completed', NOON - 1_001).data.detection_delay_ms).toBeNull();
    expect(event('run.completed', NOON - 1_000).data.detection_delay_ms).toBe(1_000);
  });
});

describe('timestamp of an event', () => {
  test("only a terminal event's timestamp is Noxus's time of the end", () => {
    expect(event('run.completed', NOON - 812).timestamp).toBe(isoTime(NOON - 812));
    expect(event('run.progress', NOON - 812).timestamp).toBe(isoTime(NOON));
    expect(event('run.completed', null).timestamp).toBe(isoTime(NOON));
  });
});
