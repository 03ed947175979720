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
} from '../../src/core/list-standing.ts';
import { createListSpotter } from '../../src/poll/list-spotter.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const LOOK = { size: 100, claims: [], checkedAt: 0 };

describe('a list that fails', () => {
  test('is left alone for longer each time, half an hour at the most', () => {
    const avoided: number[] = [];
    let standing: ListStanding = NEW_STANDING;
    for (let failure = 0; failure < 9; failure += 1) {
      standing = givenUp(standing, NOON);
      avoided.push((standing.since - NOON) / 1_000);
    }
    expect(avoided).toEqual([30, 60, 120, 240, 480, 960, 1_800, 1_800, 1_800]);
  });

  test('has its failures forgotten once it was good for as long as it was left alone', () => {
    const back = givenUp(givenUp(NEW_STANDING, NOON), NOON);
    expect(heldGood(back, LOOK, back.since + 59_000).failures).toBe(2);
    expect(heldGood(back, LOOK, back.since + 61_000).failures).toBe(0);
  });

  test('forgets its claims', () => {
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

describe('a list that wants to be left alone', () => {
  test('is asked again after that, and given up where it says so again', () => {
    const asked = throttled(NEW_STANDING);
    expect(asked).toEqual({ ...NEW_STANDING, isThrottled: true });
    expect(throttled(asked!)).toBeNull();
  });

  test('is asked again as well where it has been good in between, or was given up', () => {
    const asked = throttled(NEW_STANDING)!;
    expect(throttled(heldGood(asked, LOOK, NOON))).not.toBeNull();
    expect(throttled(givenUp(asked, NOON))).not.toBeNull();
  });
});

describe('the size of pages', () => {
  test('is no more than the members need, with room for newer runs', () => {
    expect(nextSize(5, true)).toBe(25);
    expect(nextSize(95, true)).toBe(100);
    expect(nextSize(5, false)).toBe(100);
  });
});

describe('the member of the schedule that is a list', () => {
  test('names source and workflow, whatever that is called', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (workflowId) => {
        const key = { source: 'default', workflowId };
        expect(parseListMember('default', listMemberOf(key))).toEqual(key);
      }),
    );
  });

  test('is never that of a watch', () => {
    // A run's id begins with a letter or a digit.
    expect(listMemberOf({ source: 'a', workflowId: 'run-1' })).toMatch(/^[^a-z0-9]/i);
  });
});

describe('spotting a list', () => {
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

  test('takes two runs of one workflow', () => {
    const { poll } = spotter();
    expect(poll('a')).toBeNull();
    expect(poll('a')).toBeNull();
    expect(poll('b')).toEqual(list);
  });

  test('does not call for the same list with every poll', () => {
    const { poll, pass } = spotter();
    poll('a');
    poll('b');
    expect(poll('a')).toBeNull();
    pass(10_000);
    expect(poll('b')).toEqual(list);
  });

  test('passes over watches that have ended, and runs that nobody has seen', () => {
    const { poll } = spotter();
    poll('a');
    expect(poll('b', { state: 'finished' })).toBeNull();
    expect(poll('b', { run: null })).toBeNull();
    expect(poll('b', { source: 'other' })).toBeNull();
    expect(poll('b', { run: snapshot({ workflow_id: 'another' }) })).toBeNull();
  });
});
