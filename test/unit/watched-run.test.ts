import { describe, expect, test } from '@jest/globals';
import { isoTime } from '../../src/core/event/event.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { watchedRun } from '../../src/core/cadence/phase.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

/** A watch that ends a minute after its registration, and its run, created at the same time. */
function ending(changes: Partial<Watch> = {}, finishedAt: number | null = NOON + 58_000) {
  const before = newWatch({ run: snapshot(), polls: 6 });
  const after: Watch = {
    ...before,
    state: 'finished',
    run: snapshot({ finished_at: finishedAt === null ? null : isoTime(finishedAt) }),
    polls: 7,
    endedAt: NOON + 60_000,
    ...changes,
  };
  return watchedRun({ before: { watch: before }, after });
}

describe('the end of a watch', () => {
  test("the end of a watch yields the run's duration, and the cost of seeing its end", () => {
    expect(ending()).toEqual({
      source: 'default',
      workflowId: 'workflow-1',
      duration: { fromS: 0, toS: 58, ended: true },
      polled: { requests: 7, delayS: 2 },
    });
  });

  test('a run registered late yields nothing of the time before', () => {
    const run = snapshot({
      created_at: isoTime(NOON - 30_000),
      finished_at: isoTime(NOON + 58_000),
    });
    expect(ending({ run })?.duration).toEqual({ fromS: 30, toS: 88, ended: true });
  });

  test("a run without Noxus's end time ends when a poll saw it", () => {
    const seen = ending({}, null);
    expect(seen?.duration.toS).toBe(60);
    expect(seen?.polled).toEqual({ requests: 7, delayS: 0 });
  });

  test.each(['expired', 'cancelled'] as const)(
    "a watch that is %s yields only a lower bound of the run's duration",
    (state) => {
      expect(ending({ state, run: snapshot() })).toMatchObject({
        duration: { fromS: 0, toS: 60, ended: false },
        polled: null,
      });
    },
  );

  test("a run's end is never before its beginning, whatever the clocks show", () => {
    const run = snapshot({
      created_at: isoTime(NOON + 300_000),
      finished_at: isoTime(NOON + 200_000),
    });
    expect(ending({ run })?.duration).toEqual({ fromS: 0, toS: 0, ended: true });
    expect(ending({}, NOON + 61_000)?.polled?.delayS).toBe(0);
  });

  test.each([
    ['a watch that goes on', { state: 'active', endedAt: null }],
    ['a run that nobody has seen', { run: null }],
    ['a run that is gone', { state: 'gone' }],
    ['a run that had ended before it was registered', { registeredAt: NOON + 59_000 }],
  ] as [string, Partial<Watch>][])('the end of a watch yields nothing for %s', (_what, changes) => {
    expect(ending(changes)).toBeNull();
  });

  test('a watch that is written again after its end yields nothing more', () => {
    const after = newWatch({ state: 'finished', run: snapshot(), endedAt: NOON + 1 });
    expect(watchedRun({ before: { watch: after }, after })).toBeNull();
    expect(watchedRun({ before: null, after })).toBeNull();
  });
});
