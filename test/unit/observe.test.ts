import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { DurationSample } from '../../src/core/cadence/phase.ts';
import { nextGoneCheck, revived } from '../../src/core/watch/gone.ts';
import { observe } from '../../src/core/watch/observe.ts';
import { type PollResult, KNOWN_STATUSES } from '../../src/core/run/snapshot.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, observeContext, POLICY, snapshot } from '../support/builders.ts';

const run = (status: string, progress = 0): PollResult => ({
  kind: 'run',
  run: snapshot({ status, progress }),
});
const notFound: PollResult = { kind: 'not_found' };
const unavailable: PollResult = { kind: 'unavailable', message: 'status 500' };

function result(watch: Watch, seen: PollResult, now = NOON, random = () => 0.5) {
  return observe(watch, seen, { ...observeContext(now), random });
}

/** Polls one after another, each when the one before scheduled it. */
function follow(watch: Watch, looks: PollResult[]) {
  let now = NOON;
  let current = watch;
  let marks = 0;
  const newMark = () => `mark${(marks += 1)}`;
  const samples: DurationSample[] = [];
  const events = looks.flatMap((seen) => {
    const observation = observe(current, seen, { ...observeContext(now), newMark });
    samples.push(...observation.samples);
    current = observation.watch;
    now = current.nextPollAt ?? now;
    return observation.events;
  });
  return { watch: current, events, samples, types: events.map(({ type }) => type), now };
}

describe('a poll of a run', () => {
  test('a terminal status ends the watch with its event', () => {
    const { watch, events } = result(newWatch({ registeredAt: NOON - 60_000 }), {
      kind: 'run',
      run: snapshot({ status: 'failed', progress: 40, finished_at: '2025-12-31T23:59:59.000Z' }),
    });
    expect(watch).toMatchObject({
      state: 'finished',
      nextPollAt: null,
      endedAt: NOON,
      sequence: 1,
    });
    expect(events).toMatchObject([
      {
        type: 'run.failed',
        timestamp: '2025-12-31T23:59:59.000Z',
        data: {
          run_id: 'run-1',
          sequence: 1,
          previous: null,
          detected_at: '2026-01-01T00:00:00.000Z',
          detection_delay_ms: 1_000,
          watch: { source: 'default', metadata: {}, registered_at: '2025-12-31T23:59:00.000Z' },
        },
      },
    ]);
  });

  test('a watch changed when its run took its status, by the account of Noxus where it ended', () => {
    const at = (watch: Watch, seen: PollResult, now: number) =>
      observe(watch, seen, observeContext(now)).watch;
    const first = at(newWatch({ registeredAt: NOON - 60_000 }), run('running'), NOON);
    expect(first.changedAt).toBe(NOON);
    const second = at(first, run('running', 50), NOON + 1_000);
    expect(second.changedAt).toBe(NOON);
    const third = at(second, unavailable, NOON + 2_000);
    expect(third.changedAt).toBe(NOON);
    const ended = { status: 'completed', finished_at: '2026-01-01T00:00:01.500Z' };
    expect(at(third, { kind: 'run', run: snapshot(ended) }, NOON + 9_000).changedAt).toBe(
      NOON + 1_500,
    );
    expect(at(third, run('stopped'), NOON + 9_000).changedAt).toBe(NOON + 9_000);
    const expires = { ...third, timeoutAt: NOON + 8_000 };
    expect(at(expires, run('running', 50), NOON + 9_000)).toMatchObject({
      state: 'expired',
      changedAt: NOON + 9_000,
    });
  });

  test('awaiting, running, awaiting gives two events of the wait', () => {
    const waits = run('awaiting_human_feedback');
    const { types } = follow(newWatch(), [waits, waits, run('running'), run('running'), waits]);
    expect(types).toEqual([
      'run.awaiting_human_feedback',
      'run.resumed',
      'run.awaiting_human_feedback',
    ]);
  });

  test('one awaiting status after another is the same wait unless the run has moved on', () => {
    const first = result(newWatch(), run('awaiting_human_feedback', 40));
    expect(first.events).toHaveLength(1);
    const acknowledged = { by: 'ana', comment: null, at: NOON, until: null };
    const taken = { ...first.watch, acknowledged };
    const same = result(taken, run('awaiting_event', 40), NOON + 60_000);
    expect(same.events).toEqual([]);
    expect(same.watch).toMatchObject({
      acknowledged,
      waiting: first.watch.waiting,
      notice: first.watch.notice,
      changedAt: NOON + 60_000,
    });
    const moved = result(same.watch, run('awaiting_approval', 55), NOON + 120_000);
    expect(moved.events.map(({ type }) => type)).toEqual([
      'run.progress',
      'run.awaiting_human_feedback',
    ]);
    expect(moved.watch).toMatchObject({ acknowledged: null, waiting: { since: NOON + 120_000 } });
  });

  test('new statuses of a run make at most three events in any hour, and one that lasts comes later', () => {
    let watch = newWatch();
    const told: [minute: number, status: string | undefined][] = [];
    for (let minute = 0; minute <= 130; minute += 1) {
      const status = minute < 60 ? `made-up-${minute}` : 'lasting';
      const observation = result(watch, run(status), NOON + minute * 60_000);
      watch = observation.watch;
      told.push(
        ...observation.events
          .filter(({ type }) => type === 'run.status_unknown')
          .map(({ data }) => [minute, data.run?.status] as [number, string]),
      );
    }
    expect(told).toEqual([
      [0, 'made-up-0'],
      [1, 'made-up-1'],
      [2, 'made-up-2'],
      [60, 'lasting'],
    ]);
  });

  test('names of the prototype are statuses as others are', () => {
    const { types } = follow(newWatch(), [run('__proto__'), run('constructor'), run('toString')]);
    expect(types).toEqual(Array.from({ length: 3 }, () => 'run.status_unknown'));
  });

  test('a poll records when it began, which a failed poll does not change', () => {
    const asked = { ...observeContext(NOON), beganAt: NOON - 300 };
    const { watch } = observe(newWatch(), { kind: 'run', run: snapshot() }, asked);
    expect(watch.runAskedAt).toBe(NOON - 300);
    const failed = observe(
      watch,
      { kind: 'unavailable', message: 'status 500' },
      observeContext(NOON),
    );
    expect(failed.watch.runAskedAt).toBe(NOON - 300);
  });

  test('an event contains the previous status and progress', () => {
    const { events } = follow(newWatch(), [run('running', 10), run('completed', 100)]);
    expect(events.map(({ data }) => data.previous)).toEqual([
      { status: 'running', progress: 10 },
      { status: 'running', progress: 10 },
    ]);
  });

  test('a poll yields one sample of the queue time and one of the time to the transition', () => {
    const { samples } = follow(newWatch(), [run('queued'), run('running'), run('completed', 99)]);
    expect(samples.map(({ state, ended }) => [state, ended])).toEqual([
      ['queued', true],
      ['running/0', true],
      ['transition/queued', true],
      ['transition/running/0', true],
      [null, true],
    ]);
  });

  test('a poll yields no duration sample while the run remains in its state', () => {
    const { samples } = follow(newWatch(), [run('running'), unavailable, run('running', 9)]);
    expect(samples).toEqual([]);
  });
});

describe('a missing run', () => {
  test('a missing run counts as gone only after three confirmations over the configured time', () => {
    const three = follow(newWatch(), [notFound, notFound, notFound]);
    expect(three.types).toEqual([]);
    expect(three.watch).toMatchObject({ state: 'active', missing: { count: 3, since: NOON } });
    expect(three.now).toBeGreaterThanOrEqual(NOON + 60_000);

    const four = result(three.watch, notFound, three.now);
    expect(four.events).toMatchObject([
      { type: 'run.gone', data: { run: null, error: { code: 'not_found' } } },
    ]);
    expect(four.watch).toMatchObject({ state: 'gone', nextPollAt: null });
  });

  test('a run that returns in between is not gone', () => {
    const { types, watch } = follow(newWatch(), [
      notFound,
      notFound,
      notFound,
      run('running'),
      notFound,
      notFound,
    ]);
    expect(types).toEqual([]);
    expect(watch.missing).toMatchObject({ count: 2 });
  });

  test('a run with an id that Noxus rejects counts as gone after the same time, with that reason', () => {
    const rejected: PollResult = { kind: 'rejected', message: 'not a UUID' };
    const { watch, events } = follow(newWatch(), [rejected, rejected, rejected, rejected]);
    expect(watch.state).toBe('gone');
    expect(events).toMatchObject([
      {
        type: 'run.gone',
        data: { error: { code: 'rejected', message: expect.stringContaining('UUID') } },
      },
    ]);
  });

  test.each([
    [notFound, 'forge does not know this run (404)'],
    [{ kind: 'rejected', message: 'no such form' }, 'forge rejects the run id (422): no such form'],
  ] satisfies [PollResult, string][])(
    'why a run is missing says the label of its source: %j',
    (seen, message) => {
      const context = { ...observeContext(NOON), label: 'forge' };
      expect(observe(newWatch(), seen, context).watch.missing).toMatchObject({ message });
    },
  );

  test('a missing run is not gone while its source answers for no other run, and the source is in doubt', () => {
    const seen = newWatch({
      missing: { code: 'not_found', message: '404', since: NOON, count: 9 },
    });
    for (const answeredAt of [null, NOON]) {
      const context = { ...observeContext(NOON + 3_600_000), answeredAt };
      expect(observe(seen, notFound, context)).toMatchObject({
        watch: { state: 'active' },
        events: [],
        isDoubtful: true,
      });
    }
    const answering = { ...observeContext(NOON + 3_600_000), answeredAt: NOON + 1 };
    expect(observe(seen, notFound, answering)).toMatchObject({
      watch: { state: 'gone' },
      isDoubtful: false,
    });
  });

  test('a gone run that returns continues from its last snapshot, and yields its transition', () => {
    const gone = { code: 'not_found' as const, message: 'gone', since: NOON };
    const before = newWatch({
      state: 'gone',
      gone,
      run: snapshot(),
      endedAt: NOON,
      nextPollAt: null,
    });
    const again = follow(revived(before, NOON), [run('completed', 100)]);
    expect(again.types).toEqual(['watch.recovered', 'run.progress', 'run.completed']);
    expect(again.watch).toMatchObject({ state: 'finished', gone: null, unreachable: false });
  });

  test('a gone run is polled hourly, for a day', () => {
    const watch = newWatch({ state: 'gone', endedAt: NOON });
    let [now, checks] = [NOON, 0];
    for (let next = nextGoneCheck(watch, now); next !== null; next = nextGoneCheck(watch, now)) {
      [now, checks] = [next, checks + 1];
    }
    expect([checks, now]).toEqual([24, NOON + 86_400_000]);
    expect(nextGoneCheck(newWatch(), NOON)).toBeNull();
  });
});

describe('failures of Noxus', () => {
  const troubles: PollResult[] = [
    unavailable,
    { kind: 'invalid_response', message: 'HTML' },
    { kind: 'unauthorized', message: 'status 401' },
    { kind: 'rate_limited', retryAfterMs: 5_000, message: 'status 429' },
  ];

  test.each(troubles.map((trouble) => [trouble.kind, trouble] as const))(
    '%s yields no event of the run',
    (_, trouble) => {
      const seen = result(newWatch(), run('running', 40)).watch;
      const { watch, events } = result(seen, trouble);
      expect(events).toEqual([]);
      expect(watch).toMatchObject({ state: 'active', run: seen.run, sequence: 0 });
      expect(watch.trouble).not.toBeNull();
    },
  );

  test('a lasting failure yields one watch.unreachable, and later one watch.recovered', () => {
    const looks: PollResult[] = [run('running')];
    for (let at = 0; at < 40; at += 1) looks.push(unavailable);
    const { types, watch, now } = follow(newWatch(), [...looks, run('running'), run('running')]);
    expect(types).toEqual(['watch.unreachable', 'watch.recovered']);
    expect(watch).toMatchObject({ unreachable: false, trouble: null });
    expect(now).toBeGreaterThan(NOON + POLICY.unreachableAfterMs);
  });

  test('a failure yields no event of the run while its source answers for no other one', () => {
    const failing = newWatch({ trouble: { kind: 'unavailable', message: '503', since: NOON } });
    const now = NOON + 3_600_000;
    const silent = observe(failing, unavailable, { ...observeContext(now), answeredAt: NOON });
    expect(silent).toMatchObject({ events: [], isDoubtful: true });
    expect(silent.watch.nextPollAt).toBeGreaterThan(now);
    const alone = observe(failing, unavailable, { ...observeContext(now), answeredAt: NOON + 1 });
    expect(alone.events.map(({ type }) => type)).toEqual(['watch.unreachable']);
  });

  test('poll lag alone yields no watch.unreachable, only failed polls for the whole time do', () => {
    const lateLook = (watch: Watch, now: number, lagMs: number) =>
      observe(watch, unavailable, { ...observeContext(now), lagMs });
    const first = lateLook(newWatch(), NOON, 500_000).watch;
    const second = lateLook(first, NOON + 301_000, 300_000);
    expect(second.events).toEqual([]);
    // Of these five minutes, one second had failing polls.
    const [early, due] = [NOON + 419_999, NOON + 420_000].map((at) =>
      lateLook(second.watch, at, 0),
    );
    expect(early?.events).toEqual([]);
    expect(due?.events.map(({ type }) => type)).toEqual(['watch.unreachable']);
  });

  test("watch.recovered comes before the run's own event", () => {
    const lost = newWatch({ unreachable: true, run: snapshot() });
    const { events } = result(lost, run('failed'));
    expect(events.map(({ type }) => type)).toEqual(['watch.recovered', 'run.failed']);
    expect(events.map(({ data }) => data.sequence)).toEqual([1, 2]);
  });

  test('failed polls back off, by at most a minute', () => {
    const { watch } = follow(
      newWatch(),
      Array.from({ length: 12 }, () => unavailable),
    );
    const { nextPollAt } = result(watch, unavailable, NOON, () => 0.999).watch;
    expect(nextPollAt).toBeGreaterThan(NOON + 30_000);
    expect(nextPollAt).toBeLessThanOrEqual(NOON + 60_000);
  });
});

describe('watch at its timeout', () => {
  test('a watch expires with the poll that finds its run not terminal', () => {
    const watch = newWatch({ timeoutAt: NOON + 500 });
    const early = result(watch, run('running'));
    expect(early.watch.nextPollAt).toBe(NOON + 500);
    const late = result(early.watch, run('running'), NOON + 500);
    expect(late.events.map(({ type }) => type)).toEqual(['watch.expired']);
    expect(late.watch).toMatchObject({ state: 'expired', nextPollAt: null });
  });

  test('a watch does not expire when that poll finds the run terminal', () => {
    const { watch, events } = result(newWatch({ timeoutAt: NOON }), run('completed'));
    expect(watch.state).toBe('finished');
    expect(events.map(({ type }) => type)).toEqual(['run.completed']);
  });

  test('a watch expires also while polls fail', () => {
    const { events } = result(newWatch({ timeoutAt: NOON }), unavailable);
    expect(events.map(({ type }) => type)).toEqual(['watch.expired']);
  });

  test('a watch expires only after an outage of its source, in which the run may have ended', () => {
    const context = { ...observeContext(NOON), closedFor: 'unreachable' as const };
    const { watch, events } = observe(newWatch({ timeoutAt: NOON }), unavailable, context);
    expect(events).toEqual([]);
    expect(result(watch, run('completed'), NOON + 1).events.map(({ type }) => type)).toEqual([
      'run.completed',
    ]);
    expect(result(watch, run('running'), NOON + 1).events.map(({ type }) => type)).toEqual([
      'watch.expired',
    ]);
  });
});

describe('any sequence of polls', () => {
  const anyLook: fc.Arbitrary<PollResult> = fc.oneof(
    fc
      .tuple(fc.constantFrom(...KNOWN_STATUSES, 'odd'), fc.integer({ min: 0, max: 3 }))
      .map(([status, progress]) => run(status, progress)),
    fc.constantFrom(notFound, unavailable),
  );

  test('any polls number events without a gap, give each its own id, and add none after the end', () => {
    fc.assert(
      fc.property(fc.array(anyLook, { maxLength: 40 }), (looks) => {
        let watch = newWatch();
        const events = looks.flatMap((seen, at) => {
          if (watch.state !== 'active') return [];
          const observation = result(watch, seen, NOON + at * 30_000);
          watch = observation.watch;
          return observation.events;
        });
        expect(events.map(({ data }) => data.sequence)).toEqual(events.map((_, at) => at + 1));
        expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
        expect(watch.sequence).toBe(events.length);
        expect(watch.state === 'active').toBe(watch.nextPollAt !== null);
      }),
    );
  });

  test('the same polls give the same events with the same ids', () => {
    fc.assert(
      fc.property(fc.array(anyLook, { maxLength: 20 }), (looks) => {
        expect(follow(newWatch(), looks)).toEqual(follow(newWatch(), looks));
      }),
    );
  });
});
