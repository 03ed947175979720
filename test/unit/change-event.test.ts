import { noLinks } from '../../src/core/run/links.ts';
import { describe, expect, test } from '@jest/globals';
import { buildEvent } from '../../src/core/run/transition.ts';
import { isoTime, type EventType } from '../../src/core/event/event.ts';
import { newMark, newWatch, NOON, snapshot } from '../support/builders.ts';

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
