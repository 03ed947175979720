import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  heard,
  HintAllowance,
  judgedLate,
  newHints,
  readFound,
  transitionKind,
  type HintStep,
  type RunHints,
} from '../../src/core/feed/stream-hint.ts';

const hear = (hints: RunHints, status: string, now = 0) =>
  heard(hints, status, { now, isStartWanted: true });
const read = (hints: RunHints, status: string, now = 1) =>
  readFound(hints, { status, askedAt: now }, now);

describe('hints of a stream', () => {
  test('a status unlike the one last read calls for one read at once', () => {
    const step = hear(newHints('running'), 'completed');
    expect(step.readInMs).toBe(0);
    expect(hear(step.hints, 'completed').readInMs).toBeNull();
  });

  test('a status that is known, and progress alone, call for no read', () => {
    expect(hear(newHints('running'), 'running').readInMs).toBeNull();
  });

  test('before the first read, which is due anyway, only an end or a wait calls for one', () => {
    expect(hear(newHints(null), 'running').readInMs).toBeNull();
    expect(hear(newHints(null), 'failed').readInMs).toBe(0);
  });

  test('the start of a run is read only where somebody subscribes to it', () => {
    const unwanted = heard(newHints('queued'), 'running', { now: 0, isStartWanted: false });
    expect(unwanted.readInMs).toBeNull();
    expect(hear(newHints('queued'), 'running').readInMs).toBe(0);
  });

  test('a read that agrees confirms the hint, and its transition counts as reported', () => {
    const { hints } = hear(newHints('running'), 'failed');
    const step = read(hints, 'failed');
    expect(step).toMatchObject({
      judged: 'confirmed',
      report: { kind: 'failed', isReported: true },
    });
  });

  test('a read that disagrees is followed by two more within two seconds, then the hint is wrong', () => {
    const first = read(hear(newHints('running'), 'completed').hints, 'running');
    const second = read(first.hints, 'running', 700);
    const third = read(second.hints, 'running', 1_900);
    expect((first.readInMs ?? 0) + (second.readInMs ?? 0)).toBeLessThan(2_000);
    expect([first.judged, second.judged, third.judged]).toEqual([null, null, 'wrong']);
    expect(hear(third.hints, 'completed').readInMs).toBeNull();
  });

  test('a read that was sent before the hint judges nothing', () => {
    const { hints } = hear(newHints('running'), 'completed', 100);
    const step = readFound(hints, { status: 'running', askedAt: 50 }, 120);
    expect(step).toMatchObject({
      readInMs: null,
      judged: null,
      hints: { pending: { disagreed: 0 } },
    });
  });

  test('a first read that was sent before the hint leaves it to be read', () => {
    const { hints } = hear(newHints(null), 'completed', 100);
    const step = readFound(hints, { status: 'running', askedAt: 50 }, 120);
    expect(step.hints.pending).toMatchObject({ status: 'completed' });
    expect(read(step.hints, 'completed', 200).judged).toBe('confirmed');
  });

  test('a first read that contradicts a hint before it counts as the first of three', () => {
    const { hints } = hear(newHints(null), 'completed', 100);
    const first = read(hints, 'running', 200);
    const third = read(read(first.hints, 'running', 900).hints, 'running', 2_000);
    expect([first.judged, third.judged]).toEqual([null, 'wrong']);
  });

  test('a transition that a read finds first counts as reported where the stream follows in two seconds', () => {
    const found = read(newHints('running'), 'awaiting_human_feedback', 0);
    expect(found.report).toBeNull();
    const later = hear(found.hints, 'awaiting_human_feedback', 1_000);
    expect(later.report).toEqual({ kind: 'awaiting', isReported: true });
    expect(judgedLate(found.hints, 1_999).report).toBeNull();
    expect(judgedLate(found.hints, 2_000).report).toEqual({ kind: 'awaiting', isReported: false });
  });

  test.each([
    ['running', 'completed', 'completed'],
    ['running', 'awaiting_human_feedback', 'awaiting'],
    ['awaiting_human_feedback', 'running', 'resumed'],
    ['awaiting_human_feedback', 'stopped', 'stopped'],
    ['queued', 'running', null],
  ])('the transition from %s to %s is of kind %s', (before, after, kind) => {
    expect(transitionKind(before, after)).toBe(kind);
  });

  test('whatever a stream says, each of its hints causes at most three reads', () => {
    const status = fc.constantFrom('running', 'completed', 'stopped', 'awaiting_human_feedback');
    const said = fc.array(fc.record({ status, isRead: fc.boolean() }), { maxLength: 60 });
    fc.assert(
      fc.property(said, (turns) => {
        let [hints, reads, hintCount] = [newHints('running'), 0, 0];
        const follow = (step: HintStep) => {
          hints = step.hints;
          if (step.readInMs !== null) reads += 1;
        };
        for (const [at, turn] of turns.entries()) {
          const before = hints.said;
          if (turn.isRead) follow(readFound(hints, { status: 'running', askedAt: at }, at));
          else follow(hear(hints, turn.status, at));
          if (hints.said !== before) hintCount += 1;
        }
        expect(reads).toBeLessThanOrEqual(3 * hintCount);
      }),
    );
  });
});

describe('confirming reads of hints', () => {
  test('wrong hints take at most half of the rate limit, whenever they come', () => {
    const gaps = fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 200, maxLength: 800 });
    fc.assert(
      fc.property(gaps, fc.integer({ min: 1, max: 100 }), (waits, perSecond) => {
        const allowance = new HintAllowance(() => perSecond / 1_000, 0);
        let [now, taken] = [0, 0];
        for (const ms of waits) {
          now += ms;
          if (allowance.take(now)) taken += 1;
        }
        const burst = Math.max(1, perSecond * 0.5 * 5);
        expect(taken).toBeLessThanOrEqual(burst + (now / 1_000) * perSecond * 0.5 + 1);
      }),
      { numRuns: 50 },
    );
  });

  test('hints that are confirmed are never held back', () => {
    const allowance = new HintAllowance(() => 0.01, 0);
    for (let at = 0; at < 1_000; at += 1) {
      expect(allowance.take(0)).toBe(true);
      allowance.giveBack();
    }
  });
});
