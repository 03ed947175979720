import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  exitCodeOfVerdict,
  judge,
  worstVerdict,
  type VerdictKind,
} from '../../src/cli/wait/verdict.ts';
import { sampleRun } from '../support/api-samples.ts';

const ORDER: VerdictKind[] = [
  'failed',
  'stopped',
  'cannot_tell',
  'timed_out',
  'awaiting_human_feedback',
  'completed',
];
const kinds = fc.array(fc.constantFrom(...ORDER));

describe('the worst of several verdicts', () => {
  test('the worst verdict is one of those given, and none of them is worse', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...ORDER), { minLength: 1 }), (given) => {
        const worst = worstVerdict(given);
        expect(given).toContain(worst);
        for (const kind of given) {
          expect(ORDER.indexOf(worst)).toBeLessThanOrEqual(ORDER.indexOf(kind));
        }
      }),
    );
  });

  test('the worst verdict depends neither on order nor on grouping', () => {
    fc.assert(
      fc.property(kinds, kinds, (some, others) => {
        const whole = worstVerdict([...some, ...others]);
        expect(worstVerdict([...others, ...some])).toBe(whole);
        expect(worstVerdict([worstVerdict(some), worstVerdict(others)])).toBe(whole);
      }),
    );
  });

  test('the worst verdict is success only when every run completed', () => {
    fc.assert(
      fc.property(kinds, (given) => {
        const isSuccess = exitCodeOfVerdict(worstVerdict(given)) === 0;
        expect(isSuccess).toBe(given.every((kind) => kind === 'completed'));
      }),
    );
  });

  test('exit codes from the worst to the best are 1, 3, 5, 124, 4, 0', () => {
    expect(ORDER.map(exitCodeOfVerdict)).toEqual([1, 3, 5, 124, 4, 0]);
  });
});

const view = (state: string, status: string | null) => ({
  state,
  run: status === null ? null : sampleRun({ status }),
  trouble: null,
});

describe('verdict on a poll of a run', () => {
  test.each([
    ['finished', 'completed', 'completed'],
    ['finished', 'failed', 'failed'],
    ['finished', 'stopped', 'stopped'],
    ['finished', 'evaporated', 'cannot_tell'],
    ['gone', null, 'cannot_tell'],
    ['gone', 'running', 'cannot_tell'],
    ['cancelled', 'running', 'cannot_tell'],
    ['expired', 'running', 'timed_out'],
    ['active', 'awaiting_human_feedback', 'awaiting_human_feedback'],
    ['active', 'running', undefined],
    ['active', 'evaporated', undefined],
    ['active', null, undefined],
  ])('a watch that is %s with a run that is %s gives verdict %s', (state, status, kind) => {
    expect(judge(view(state, status), { throughFeedback: false })?.kind).toBe(kind);
  });

  test('--through-feedback goes on waiting for a run that awaits feedback', () => {
    const awaiting = view('active', 'awaiting_human_feedback');
    expect(judge(awaiting, { throughFeedback: true })).toBeNull();
  });

  test('the verdict on a gone run names the reason', () => {
    const gone = { ...view('gone', null), trouble: { code: 'rejected', message: 'bad id' } };
    expect(judge(gone, { throughFeedback: false })?.reason?.message).toBe('bad id');
  });
});
