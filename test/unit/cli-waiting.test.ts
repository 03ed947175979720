import * as fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { exitCodeOfVerdict } from '../../src/cli/wait/verdict.ts';
import { judge, worstVerdict, type VerdictKind } from '../../src/client/wait-verdict.ts';
import { sampleRun } from '../support/api-samples.ts';
import { mapConcurrently } from '../../src/cli/verb.ts';
import { Hints } from '../../src/client/wait-daemon.ts';
import { RequestPacer } from '../../src/cli/wait/direct-account.ts';

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

const HOUR = 3_600_000;
const never = new AbortController().signal;

describe('request pacing', () => {
  test('pacing keeps requests at least their interval apart, and starts none early', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.array(fc.nat(300)), (spacing, pauses) => {
        const gate = new RequestPacer(spacing);
        let now = 1_000;
        let last = -Infinity;
        for (const pause of pauses) {
          now += pause;
          const at = now + gate.reserve(now);
          expect(at).toBeGreaterThanOrEqual(now);
          expect(at - last).toBeGreaterThanOrEqual(spacing);
          last = at;
        }
      }),
    );
  });

  test('pacing does not delay a request that comes late', () => {
    const gate = new RequestPacer(100);
    gate.reserve(0);
    expect(gate.reserve(1_000)).toBe(0);
  });

  test('pacing holds requests until the longest pause is over', () => {
    const gate = new RequestPacer(100);
    expect(gate.pauseAt(0)).toBeNull();
    gate.pause('slow down', 5_000);
    gate.pause('slow down a little', 2_000);
    expect(gate.pauseAt(4_999)).toMatchObject({ message: 'slow down', retryAfterMs: 1 });
    expect(gate.pauseAt(5_000)).toBeNull();
  });
});

describe('hints', () => {
  test('a hint wakes all waiters', async () => {
    const hints = new Hints(['a']);
    const woken = hints.next('a', HOUR, never);
    hints.give('a');
    await expect(woken).resolves.toBeUndefined();
  });

  test('hints between two waits are kept for the next, once', async () => {
    const hints = new Hints(['a', 'b']);
    hints.give('a');
    hints.give('a');
    await hints.next('a', HOUR, never);
    const controller = new AbortController();
    let isWoken = false;
    const again = hints.next('a', HOUR, controller.signal).finally(() => (isWoken = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isWoken).toBe(false);
    controller.abort();
    await expect(again).rejects.toThrow();
  });

  test('a hint for a name without a waiter is dropped', async () => {
    const hints = new Hints(['a']);
    hints.give('stranger');
    const controller = new AbortController();
    let isWoken = false;
    const waiting = hints.next('stranger', HOUR, controller.signal).finally(() => (isWoken = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect(isWoken).toBe(false);
    controller.abort();
    await expect(waiting).rejects.toThrow();
  });

  test('a wait for hints ends after the given time', async () => {
    await expect(new Hints(['a']).next('a', 1, never)).resolves.toBeUndefined();
  });
});

describe('concurrent tasks', () => {
  test('concurrent tasks give results in order, and never exceed the limit', async () => {
    const sizes = fc.array(fc.nat(5), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(sizes, fc.integer({ min: 1, max: 6 }), async (items, limit) => {
        let running = 0;
        const results = await mapConcurrently(items, limit, async (item) => {
          running += 1;
          expect(running).toBeLessThanOrEqual(limit);
          for (let turn = 0; turn < item; turn += 1) await Promise.resolve();
          running -= 1;
          return item * 2;
        });
        expect(results).toEqual(items.map((item) => item * 2));
      }),
    );
  });
});
