import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  givenUp,
  heldGood,
  listMemberOf,
  NEW_STANDING,
  nextSize,
  parseListMember,
  throttled,
  type ListStanding,
} from '../../src/core/feed/list-standing.ts';
import { createListSpotter } from '../../src/poll/list-spotter.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const LOOK = { size: 100, claims: [], checkedAt: 0 };

describe('a list that fails', () => {
  test('a failing list is avoided for longer each time, half an hour at most', () => {
    const avoided: number[] = [];
    let standing: ListStanding = NEW_STANDING;
    for (let failure = 0; failure < 9; failure += 1) {
      standing = givenUp(standing, NOON);
      avoided.push((standing.since - NOON) / 1_000);
    }
    expect(avoided).toEqual([30, 60, 120, 240, 480, 960, 1_800, 1_800, 1_800]);
  });

  test("a list's failures are forgotten once it was good for as long as it was avoided", () => {
    const back = givenUp(givenUp(NEW_STANDING, NOON), NOON);
    expect(heldGood(back, LOOK, back.since + 59_000).failures).toBe(2);
    expect(heldGood(back, LOOK, back.since + 61_000).failures).toBe(0);
  });

  test('a failing list loses its hints', () => {
    const known = { status: 'running', progress: 0 };
    const claim = {
      runId: 'a',
      madeAt: NOON,
      listed: known,
      known: { ...known, at: NOON },
    };
    expect(givenUp({ ...NEW_STANDING, claims: [claim] }, NOON).claims).toEqual([]);
  });
});

describe('a throttled list', () => {
  test('a throttled list is swept again after the pause, and given up when throttled again', () => {
    const asked = throttled(NEW_STANDING);
    expect(asked).toEqual({ ...NEW_STANDING, isThrottled: true });
    expect(throttled(asked!)).toBeNull();
  });

  test('a throttled list is also swept again after a good sweep in between, or after it was given up', () => {
    const asked = throttled(NEW_STANDING)!;
    expect(throttled(heldGood(asked, LOOK, NOON))).not.toBeNull();
    expect(throttled(givenUp(asked, NOON))).not.toBeNull();
  });
});

describe('the size of pages', () => {
  test('pages of a list are no larger than its members need, with room for newer runs', () => {
    expect(nextSize(5, true)).toBe(25);
    expect(nextSize(95, true)).toBe(100);
    expect(nextSize(5, false)).toBe(100);
  });
});

describe("a list's member in the schedule", () => {
  test("a list's schedule member names source and workflow, for any workflow id", () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (workflowId) => {
        const key = { source: 'default', workflowId };
        expect(parseListMember('default', listMemberOf(key))).toEqual(key);
      }),
    );
  });

  test("a list's schedule member is never that of a watch", () => {
    // A run id begins with a letter or a digit.
    expect(listMemberOf({ source: 'a', workflowId: 'run-1' })).toMatch(/^[^a-z0-9]/i);
  });
});

describe('finding lists to sweep', () => {
  function spotter() {
    let now = NOON;
    const spot = createListSpotter(() => now);
    return {
      pass: (ms: number) => void (now += ms),
      poll: (runId: string, changes = {}) =>
        spot(newWatch({ runId, run: snapshot({ id: runId }), ...changes })),
    };
  }
  const list = { source: 'default', workflowId: 'workflow-1' };

  test('two runs of one workflow call for a list', () => {
    const { poll } = spotter();
    expect(poll('a')).toBeNull();
    expect(poll('a')).toBeNull();
    expect(poll('b')).toEqual(list);
  });

  test('the same list is not called for with every poll', () => {
    const { poll, pass } = spotter();
    poll('a');
    poll('b');
    expect(poll('a')).toBeNull();
    pass(10_000);
    expect(poll('b')).toEqual(list);
  });

  test('ended watches, and runs without a snapshot, call for no list', () => {
    const { poll } = spotter();
    poll('a');
    expect(poll('b', { state: 'finished' })).toBeNull();
    expect(poll('b', { run: null })).toBeNull();
    expect(poll('b', { source: 'other' })).toBeNull();
    expect(poll('b', { run: snapshot({ workflow_id: 'another' }) })).toBeNull();
  });
});
