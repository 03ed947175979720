import { describe, expect, test } from '@jest/globals';
import { RuleBook } from '../../src/core/alert/entry.ts';
import { roleOf } from '../../src/core/alert/rule.ts';
import { watchedRun } from '../../src/core/cadence/phase.ts';
import { isoTime } from '../../src/core/event/event.ts';
import { workBeganAt, type PollResult, type RunSnapshot } from '../../src/core/run/snapshot.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { register } from '../../src/core/watch/register.ts';
import { endedRun } from '../../src/core/watch/run-figures.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, observeContext, POLICY, snapshot } from '../support/builders.ts';
import { aRule } from '../support/fake-alerts.ts';

const MINUTE = 60_000;
const at = (minutes: number) => isoTime(NOON + minutes * MINUTE);
const defaults = { timeoutMs: 60 * MINUTE, minIntervalMs: 1_000, profile: 'normal' as const };
const notFound: PollResult = { kind: 'not_found' };
const unavailable: PollResult = { kind: 'unavailable', message: 'status 502' };

const shown = (attempt: number | null, changes: Partial<RunSnapshot>): PollResult => ({
  kind: 'run',
  run: snapshot({ progress: null, ...(attempt !== null && { attempt }), ...changes }),
});

const poll = (watch: Watch, result: PollResult, minutes: number) =>
  observe(watch, result, observeContext(NOON + minutes * MINUTE));

const typesOf = ({ events }: ReturnType<typeof poll>) => events.map(({ type }) => type);

/** A watch whose run failed after two minutes, in an attempt or none. */
function failed(attempt: number | null = 1): Watch {
  const run = { status: 'failed', started_at: at(1), finished_at: at(2) };
  const running = poll(newWatch(), shown(attempt, { ...run, status: 'running' }), 1);
  return poll(running.watch, shown(attempt, run), 2).watch;
}

/** Registers a watch again. @param minutes when, after noon */
function again(watch: Watch, minutes = 30, hasAttempts = true) {
  const request = { source: watch.source, runId: watch.runId, subscriptions: [] };
  return register(watch, request, { now: NOON + minutes * MINUTE, defaults, hasAttempts });
}

describe('registering a run again that has ended', () => {
  test('polls it at once where its source counts attempts, for as long as a new watch would be', () => {
    const ended = failed();
    const { watch, kind, dueWithinMs } = again(ended);
    expect([kind, dueWithinMs]).toEqual(['reopened', 0]);
    expect(watch).toMatchObject({
      state: 'active',
      run: ended.run,
      registeredAt: ended.registeredAt,
      changedAt: ended.changedAt,
      notice: ended.notice,
      timeoutAt: NOON + 90 * MINUTE,
    });
  });

  test('leaves it as it is where its source counts none', () => {
    const ended = failed();
    expect(again(ended, 30, false)).toMatchObject({ kind: 'merged', watch: { state: 'finished' } });
  });

  test.each([
    ['the same end', [shown(1, { status: 'failed' })]],
    ['another end of the same attempt', [shown(1, { status: 'completed' })]],
    [
      'an answer from before its end, and then its end',
      [shown(1, { status: 'running' }), shown(1, { status: 'failed' })],
    ],
    ['that it was deleted', [notFound, notFound, notFound, notFound]],
  ])('goes back to its end without an event or sample, where the source shows %s', (_, results) => {
    const ended = failed();
    let { watch } = again(ended);
    let minutes = 31;
    for (const result of results) {
      const observed = poll(watch, result, (minutes += 1));
      expect([observed.events, observed.samples]).toEqual([[], []]);
      const change = { before: { watch }, after: observed.watch };
      expect([endedRun(change), watchedRun(change)]).toEqual([null, null]);
      watch = observed.watch;
    }
    expect(watch).toMatchObject({
      state: 'finished',
      isReopened: false,
      run: ended.run,
      changedAt: ended.changedAt,
      notice: ended.notice,
      sequence: ended.sequence,
      nextPollAt: null,
    });
  });

  test('goes back to its end at the timeout, and does not expire', () => {
    const { watch } = again(failed());
    const observed = poll(watch, unavailable, 91);
    expect(typesOf(observed)).toEqual([]);
    expect(observed.watch).toMatchObject({ state: 'finished', notice: watch.notice });
  });

  test('keeps the notice of its end for late subscribers while nothing can be read, and after a recovery', () => {
    const { watch } = again(failed());
    const lost = poll(poll(watch, unavailable, 31).watch, unavailable, 35);
    expect(typesOf(lost)).toEqual(['watch.unreachable']);
    expect(lost.watch.notice).toEqual(watch.notice);
    const back = poll(lost.watch, shown(1, { status: 'failed' }), 36);
    expect(typesOf(back)).toEqual(['watch.recovered']);
    expect(back.watch).toMatchObject({ state: 'finished', notice: watch.notice });
  });

  test('asks again less and less often while the source answers from before the end', () => {
    let { watch } = again(failed());
    const intervals: number[] = [];
    for (let minutes = 31; intervals.length < 8; minutes += 2) {
      ({ watch } = poll(watch, shown(1, { status: 'running' }), minutes));
      intervals.push((watch.nextPollAt ?? 0) - (NOON + minutes * MINUTE));
    }
    expect(intervals.slice(0, 3)).toEqual([2_000, 4_000, 8_000]);
    expect(intervals.at(-1)).toBe(POLICY.maxIntervalMs);
  });

  test('takes over the attempt of a run that ended before its source declared attempts', () => {
    const ended = failed(null);
    const same = poll(again(ended).watch, shown(3, { status: 'failed' }), 31);
    expect(typesOf(same)).toEqual([]);
    expect(same.watch).toMatchObject({ state: 'finished', attempt: 3, run: { attempt: 3 } });
    const later = poll(again(ended).watch, shown(3, { status: 'running' }), 31);
    expect(typesOf(later)).toEqual(['run.restarted']);
    const earlier = poll(again(ended).watch, shown(1, { status: 'running' }), 31);
    expect([typesOf(earlier), earlier.watch.state]).toEqual([[], 'active']);
  });
});

describe('another attempt of a run', () => {
  test('has run.restarted and then the events of a run that was never seen', () => {
    const { watch } = again(failed());
    const cases: [string, string[]][] = [
      ['queued', []],
      ['running', []],
      ['awaiting_human_feedback', ['run.awaiting_human_feedback']],
      ['completed', ['run.completed']],
      ['failed', ['run.failed']],
      ['odd', ['run.status_unknown']],
    ];
    for (const [status, others] of cases) {
      const observed = poll(watch, shown(2, { status }), 31);
      expect(typesOf(observed)).toEqual(['run.restarted', ...others]);
      expect(observed.events[0]?.data).toMatchObject({ previous: { status: 'failed' } });
    }
  });

  test('is seen although the end of the one before was missed, and ends what that one was in', () => {
    const stalled = { since: NOON, stalled: true };
    const running = poll(newWatch(), shown(1, { status: 'running', progress: 30 }), 1).watch;
    const acknowledged = { by: 'ana', comment: null, at: NOON, until: null };
    const observed = poll(
      { ...running, dwell: stalled, acknowledged },
      shown(2, { status: 'running' }),
      40,
    );
    expect(typesOf(observed)).toEqual(['run.recovered', 'run.restarted']);
    expect(observed.watch).toMatchObject({
      acknowledged: null,
      attempt: 2,
      changedAt: NOON + 40 * MINUTE,
      dwell: { since: NOON + 40 * MINUTE, stalled: false },
    });
  });

  test('that comes without an end of the one before adds no duration of that end', () => {
    const queued = poll(newWatch(), shown(1, { status: 'queued' }), 1).watch;
    const { samples } = poll(queued, shown(2, { status: 'completed', finished_at: at(39) }), 40);
    expect(samples.length).toBeGreaterThan(0);
    expect(samples.filter(({ ended }) => ended)).toEqual([]);
  });

  test('clears the acknowledgement of the failure before it', () => {
    const acknowledged = { by: 'ana', comment: null, at: NOON, until: null };
    const { watch } = again({ ...failed(), acknowledged });
    expect(watch.acknowledged).toEqual(acknowledged);
    expect(poll(watch, shown(1, { status: 'failed' }), 31).watch.acknowledged).toEqual(
      acknowledged,
    );
    expect(poll(watch, shown(2, { status: 'failed' }), 31).watch.acknowledged).toBeNull();
  });

  test('an answer of an earlier one says nothing', () => {
    const second = poll(again(failed()).watch, shown(2, { status: 'running' }), 31).watch;
    const stale = poll(second, shown(1, { status: 'failed' }), 32);
    expect(typesOf(stale)).toEqual([]);
    expect(stale.watch).toMatchObject({ state: 'active', run: second.run, attempt: 2 });
  });

  test('two ends of one type have two ids, and that of the first is as without attempts', () => {
    const first = poll(newWatch(), shown(1, { status: 'failed' }), 1);
    const without = poll(newWatch(), shown(null, { status: 'failed' }), 1);
    expect(first.events[0]?.id).toBe(without.events[0]?.id);
    const second = poll(again(first.watch).watch, shown(2, { status: 'failed' }), 31);
    expect(second.events[1]?.id).toBe(first.events[0]?.id.replace('_failed_', '_failed2_'));
  });

  test('its age counts from its own start, never from the creation of the run', () => {
    const run = snapshot({ created_at: at(0), started_at: null });
    expect(workBeganAt({ ...run, attempt: 1 })).toBe(at(0));
    expect(workBeganAt({ ...run, attempt: 2 })).toBeNull();
    expect(workBeganAt({ ...run, attempt: 2, started_at: at(30) })).toBe(at(30));
    const queued = poll(again(failed()).watch, shown(2, { status: 'queued' }), 31).watch;
    expect(queued).toMatchObject({ dwell: { since: NOON + 31 * MINUTE } });
    const started = { status: 'running', started_at: at(30) };
    const { watch } = poll(again(failed()).watch, shown(2, started), 31);
    const { watch: after } = poll(
      watch,
      shown(2, { ...started, status: 'completed', finished_at: at(35) }),
      36,
    );
    const change = { before: { watch }, after };
    expect(endedRun(change)).toMatchObject({
      durationMs: 5 * MINUTE,
      delayMs: MINUTE,
      requests: null,
    });
    expect(watchedRun(change)).toMatchObject({ duration: { fromS: 60, toS: 300 }, polled: null });
  });

  test('one that ended before it was seen was not detected late', () => {
    const { watch } = again(failed());
    const over = { status: 'completed', started_at: at(10), finished_at: at(12) };
    const { events, watch: after } = poll(watch, shown(2, over), 31);
    expect(events.at(-1)).toMatchObject({ timestamp: at(12), data: { detection_delay_ms: null } });
    expect(endedRun({ before: { watch }, after })).toMatchObject({
      durationMs: 2 * MINUTE,
      delayMs: null,
    });
    expect(watchedRun({ before: { watch }, after })).toBeNull();
  });
});

describe('rules and another attempt', () => {
  const deadline = (reference: 'created_at' | 'started_at') =>
    aRule({
      name: reference,
      condition: { kind: 'deadline', reference, limit: { kind: 'interval', ms: 10 * MINUTE } },
    });
  const book = new RuleBook([deadline('created_at'), deadline('started_at')]);
  const deadlinesOf = (before: Watch, after: Watch) => book.deadlinesOf(before, after, () => null);

  test('a deadline begins anew with its start, whatever it counts from', () => {
    const { watch } = again(failed());
    const after = poll(watch, shown(2, { status: 'running', started_at: at(30) }), 31).watch;
    expect(deadlinesOf(watch, after)).toMatchObject({
      deadlines: [
        { rule: 'created_at', at: NOON + 40 * MINUTE },
        { rule: 'started_at', at: NOON + 40 * MINUTE },
      ],
    });
    expect(deadlinesOf(failed(), watch)).toBeNull();
  });

  test('a deadline begins anew also where a source keeps the start of the first attempt', () => {
    const { watch } = again(failed());
    const after = poll(watch, shown(2, { status: 'running', started_at: at(1) }), 31).watch;
    expect(deadlinesOf(watch, after)).toMatchObject({ deadlines: [{}, { rule: 'started_at' }] });
  });

  test('a deadline waits for the start of an attempt that has none yet', () => {
    const { watch } = again(failed());
    const queued = poll(watch, shown(2, { status: 'queued' }), 31).watch;
    expect(deadlinesOf(watch, queued)).toBeNull();
    const started = poll(queued, shown(2, { status: 'running', started_at: at(32) }), 33).watch;
    expect(deadlinesOf(queued, started)).toMatchObject({
      deadlines: [{ at: NOON + 42 * MINUTE }, {}],
    });
  });

  test('it is neither a success nor a failure, and ends the wait of a deadline', () => {
    const condition = { kind: 'consecutive' as const, count: 3 };
    expect(roleOf(aRule({ events: ['run.failed'], condition }), 'run.restarted')).toBeNull();
    expect(roleOf(aRule({ events: ['run.failed'] }), 'run.restarted')).toBeNull();
    expect(roleOf(deadline('created_at'), 'run.restarted')).toBe('resolve');
  });
});
