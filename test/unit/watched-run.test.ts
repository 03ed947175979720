import { describe, expect, test } from '@jest/globals';
import { isoTime } from '../../src/core/event.ts';
import { watchedRun } from '../../src/core/watched-run.ts';
import type { Watch } from '../../src/core/watch.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

/** A watch that ends a minute after its registration, of a run that was created with it. */
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
  return watchedRun({ before: { watch: before, version: 1 }, after });
}

describe('the end of a watch', () => {
  test('tells how long the run lasted, and what it took to see its end', () => {
    expect(ending()).toEqual({
      source: 'default',
      workflowId: 'workflow-1',
      duration: { fromS: 0, toS: 58, ended: true },
      polled: { requests: 7, delayS: 2 },
    });
  });

  test('of a run that was registered late tells nothing of its first time', () => {
    const run = snapshot({
      created_at: isoTime(NOON - 30_000),
      finished_at: isoTime(NOON + 58_000),
    });
    expect(ending({ run })?.duration).toEqual({ fromS: 30, toS: 88, ended: true });
  });

  test('goes by what we saw where Noxus does not say when the run ended', () => {
    const seen = ending({}, null);
    expect(seen?.duration.toS).toBe(60);
    expect(seen?.polled).toEqual({ requests: 7, delayS: 0 });
  });

  test.each(['expired', 'cancelled'] as const)(
    'by being %s tells only that the run lasts longer',
    (state) => {
      expect(ending({ state, run: snapshot() })).toMatchObject({
        duration: { fromS: 0, toS: 60, ended: false },
        polled: null,
      });
    },
  );

  test('is never before the beginning, whatever the clocks say', () => {
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
  ] as [string, Partial<Watch>][])('tells nothing of %s', (_what, changes) => {
    expect(ending(changes)).toBeNull();
  });

  test('is told of once: a watch that is written again after its end tells nothing', () => {
    const after = newWatch({ state: 'finished', run: snapshot(), endedAt: NOON + 1 });
    expect(watchedRun({ before: { watch: after, version: 2 }, after })).toBeNull();
    expect(watchedRun({ before: null, after })).toBeNull();
  });
});
