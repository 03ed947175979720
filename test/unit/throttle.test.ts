import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  afterAnswer,
  isRunlessProbe,
  movedBack,
  resumed,
  withSaid,
  type SourceAnswer,
  type SourceState,
} from '../../src/core/source/throttle.ts';

const NOON = Date.UTC(2026, 0, 1);
const MINUTE = 60_000;

const policy = { unauthorizedProbeMs: MINUTE, unreachableAfterMs: 2 * MINUTE };

const valid: SourceAnswer = { kind: 'valid' };
const down = (about: string): SourceAnswer => ({ kind: 'trouble', about, message: 'status 503' });
const missing = (about: string): SourceAnswer => ({
  kind: 'missing',
  about,
  message: 'status 404',
});
const forbidden = (about: string): SourceAnswer => ({
  kind: 'forbidden',
  about,
  message: 'status 403',
});
const limited = (retryAfterMs: number | null): SourceAnswer => ({
  kind: 'rate_limited',
  retryAfterMs,
  message: 'status 429',
});

interface Given {
  /** Milliseconds after noon. */
  at: number;
  answer: SourceAnswer;
  askedAt?: number;
}

/** A source with this many runs and these answers; its last valid answer is at noon by default. */
function play(
  given: Given[],
  { active = 50, answeredAt = NOON }: { active?: number; answeredAt?: number | null } = {},
) {
  let state: SourceState | null = null;
  let lastAnswer = answeredAt;
  for (const { at, answer, askedAt = at } of given) {
    const now = NOON + at;
    const times = { now, askedAt: NOON + askedAt, answeredAt: lastAnswer };
    const context = { label: 'forge', policy, ...times, active };
    state = afterAnswer(state, answer, context);
    if (answer.kind === 'valid') lastAnswer = now;
  }
  return state;
}

/** This many answers about different runs, spread over a time. */
function row(count: number, answer: (about: string) => SourceAnswer, overMs = 2_000, from = 0) {
  return Array.from({ length: count }, (_, index) => ({
    at: from + Math.round((overMs * index) / Math.max(1, count - 1)),
    answer: answer(`run-${index}`),
  }));
}

const typesOf = (state: SourceState | null) => state?.unsaid.map(({ type }) => type) ?? [];

describe('a pause that a source asked for', () => {
  const pause = { kind: 'rate_limited' as const, retryAfterMs: 15 * MINUTE, message: 'slow down' };
  const paused = { at: 0, answer: pause };

  test('the pause is over once a run is tried, although that one run is in trouble', () => {
    const tried = play([paused, { at: 15 * MINUTE, answer: down('run-1') }]);
    expect(tried?.closed).toBeNull();
    expect(typesOf(tried)).toEqual(['source.throttled']);
  });

  test('the pause is not over by trouble of a request from before its end', () => {
    expect(play([paused, { at: MINUTE, answer: down('run-1') }])?.closed).toMatchObject({
      reason: 'rate_limited',
    });
  });

  test('the pause is no time without an answer', () => {
    const outage = row(10, down).map(({ at, answer }) => ({ at: at + 15 * MINUTE, answer }));
    const begun = play([paused, ...outage]);
    expect(begun?.closed?.reason).toBe('unreachable');
    expect(typesOf(begun)).toEqual(['source.throttled']);
    const lasting = play([paused, ...outage, { at: 18 * MINUTE, answer: down('run-1') }]);
    expect(typesOf(lasting)).toEqual(['source.throttled', 'source.unreachable']);
  });
});

describe('an outage', () => {
  test('an outage is ten failed answers in a row over two seconds', () => {
    expect(play(row(9, down))?.closed).toBeNull();
    expect(play(row(10, down, 1_999))?.closed).toBeNull();
    expect(play(row(10, down))?.closed).toMatchObject({
      reason: 'unreachable',
      probeAt: NOON + 3_000,
    });
  });

  test('one valid answer prevents an outage', () => {
    const half = row(200, down, 60_000).flatMap((bad) => [bad, { at: bad.at, answer: valid }]);
    expect(play(half)).toBeNull();
  });

  test('with fewer runs an outage is all answers failing, even of one run', () => {
    expect(play(row(3, down), { active: 3 })?.closed?.reason).toBe('unreachable');
    expect(
      play(
        row(2, () => down('run-1')),
        { active: 1 },
      )?.closed?.reason,
    ).toBe('unreachable');
  });

  test('one run that goes on failing beside rarely polled others is no outage', () => {
    expect(
      play(
        row(50, () => down('run-1'), MINUTE),
        { active: 4 },
      )?.closed,
    ).toBeNull();
    const two = row(12, (about) => down(about.endsWith('1') ? 'run-1' : 'run-2'), MINUTE);
    expect(play(two, { active: 4 })?.closed?.reason).toBe('unreachable');
  });

  test('an outage is probed after 1, 2, 4, 8, then every 10 s, every third time by the list', () => {
    const given = row(10, down);
    let state = play(given);
    const waits: number[] = [];
    const lists: boolean[] = [];
    for (let probe = 0; probe < 7; probe += 1) {
      const { closed } = state ?? {};
      if (!closed) throw new Error('open');
      waits.push(closed.probeAt - NOON - (given.at(-1)?.at ?? 0));
      lists.push(isRunlessProbe(closed));
      given.push({ at: closed.probeAt - NOON, answer: down('run-1') });
      state = play(given);
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000]);
    expect(lists).toEqual([false, false, true, false, false, true, false]);
  });

  test('an outage raises one event after its time, and one when it is over', () => {
    const outage = row(10, down);
    const before = [...outage, { at: 2 * MINUTE - 1, answer: down('run-1') }];
    expect(typesOf(play(before))).toEqual([]);
    const said = [...before, { at: 2 * MINUTE, answer: down('run-2') }];
    const later = [...said, { at: 5 * MINUTE, answer: down('run-3') }];
    expect(typesOf(play(later))).toEqual(['source.unreachable']);
    const over = play([...later, { at: 6 * MINUTE, answer: valid }]);
    expect(over).toMatchObject({ closed: null, row: [] });
    expect(typesOf(over)).toEqual(['source.unreachable', 'source.recovered']);
    expect(over?.unsaid.at(-1)?.message).toBe('forge answers again');
    expect(withSaid(over!, over!.unsaid)).toBeNull();
  });

  test('an outage too short for an event leaves no state behind', () => {
    expect(play([...row(10, down), { at: 9_000, answer: valid }])).toBeNull();
  });

  test('answers to earlier requests do not speed up the probes of an outage', () => {
    const straggler = { at: 30_000, answer: down('run-77'), askedAt: 1_000 };
    expect(play([...row(10, down), straggler])?.closed).toMatchObject({ failedProbes: 0 });
  });
});

describe('a 404', () => {
  test('a 404 concerns its run while the source has answered within a minute', () => {
    expect(play(row(30, missing, 59_000))).toBeNull();
  });

  test('404s for all runs, for longer, are an outage', () => {
    const state = play(row(20, missing, 10_000, 61_000));
    expect(state?.closed?.reason).toBe('unreachable');
    expect(play(row(20, missing), { answeredAt: null })?.closed?.reason).toBe('unreachable');
  });
});

describe('a 403', () => {
  test('a 403 of one run says nothing of the source, however often it comes', () => {
    expect(play(row(50, () => forbidden('run-1'), 59_000))?.closed).toBeNull();
  });

  test('a 403 of three different runs with no valid answer in between closes the source', () => {
    const state = play(row(3, forbidden));
    expect(state?.closed).toMatchObject({ reason: 'unauthorized', probeAt: NOON + 2_000 + MINUTE });
    expect(typesOf(state)).toEqual(['source.unauthorized']);
    const mixed = row(30, forbidden, 30_000).flatMap((one) => [one, { ...one, answer: valid }]);
    expect(play(mixed)).toBeNull();
  });

  test('a 403 of both of two runs closes the source, of the only one does not', () => {
    expect(play(row(2, forbidden), { active: 2 })?.closed?.reason).toBe('unauthorized');
    expect(
      play(
        row(9, () => forbidden('run-1'), 9_000),
        { active: 1 },
      )?.closed,
    ).toBeNull();
  });
});

describe('a 401', () => {
  test('a 401 closes the source at once, raises one event, and is probed as seldom as configured', () => {
    const refused: SourceAnswer = { kind: 'unauthorized', message: 'status 401' };
    const given = [0, MINUTE, 2 * MINUTE].map((at) => ({ at, answer: refused }));
    const state = play(given);
    expect(state?.closed).toMatchObject({ reason: 'unauthorized', probeAt: NOON + 3 * MINUTE });
    expect(typesOf(state)).toEqual(['source.unauthorized']);
  });
});

describe('pause of a source', () => {
  test.each([
    [7_000, 7_000],
    [null, 5_000],
    [0, 0],
    [99_999_999_000, 15 * MINUTE],
  ])('a Retry-After of %p ms pauses a source for %d ms', (asked, granted) => {
    expect(play([{ at: 0, answer: limited(asked) }])?.closed?.probeAt).toBe(NOON + granted);
  });

  test('a pause of a source raises one event where it is longer than a minute', () => {
    expect(typesOf(play([{ at: 0, answer: limited(MINUTE) }]))).toEqual([]);
    const long = [0, 1_000].map((at) => ({ at, answer: limited(10 * MINUTE) }));
    expect(typesOf(play(long))).toEqual(['source.throttled']);
  });

  test('a pause of a source does not end earlier because another answer asks for a shorter one', () => {
    const state = play([
      { at: 0, answer: limited(60_000) },
      { at: 100, answer: limited(1_000) },
    ]);
    expect(state?.closed?.probeAt).toBe(NOON + 60_000);
  });

  test.each([
    ['a pause', limited(MINUTE)],
    ['a refusal', { kind: 'unauthorized' as const, message: 'status 401' }],
  ])('a pause of a source (%s) is not ended by answers to earlier requests', (_, answer) => {
    const straggler = { at: 600, answer: valid, askedAt: 400 };
    expect(play([{ at: 500, answer }, straggler])?.closed?.at).toBe(NOON + 500);
    expect(
      play([
        { at: 500, answer },
        { ...straggler, askedAt: 500 },
      ])?.closed ?? null,
    ).toBeNull();
  });

  test('repeated pauses of a source count from the first, and raise one event after a minute', () => {
    const given = Array.from({ length: 4 }, (_, turn) => ({
      at: turn * 20_000,
      answer: limited(20_000),
    }));
    expect(typesOf(play(given.slice(0, 3)))).toEqual([]);
    expect(play(given)?.closed).toMatchObject({ at: NOON, probeAt: NOON + 80_000 });
    expect(typesOf(play(given))).toEqual(['source.throttled']);
  });

  test('a pause of a source followed by failures is an outage', () => {
    const failures = row(10, down).map(({ at, answer }) => ({ at: at + 5_000, answer }));
    const state = play([{ at: 0, answer: limited(5_000) }, ...failures]);
    expect(state?.closed).toMatchObject({ reason: 'unreachable', probeAt: NOON + 8_000 });
  });

  test('a lifted pause of a source keeps the record of its event', () => {
    const state = play([{ at: 0, answer: limited(10 * MINUTE) }]);
    expect(resumed(state!)).toMatchObject({ closed: null, said: ['source.throttled'] });
  });
});

test('a valid answer opens any source, and each event is raised once until then', () => {
  const answers = fc.oneof(
    fc.constantFrom(limited(null), limited(900_000), {
      kind: 'unauthorized' as const,
      message: 'status 401',
    }),
    fc
      .tuple(fc.constantFrom(down, missing, forbidden), fc.nat({ max: 12 }))
      .map(([kind, run]) => kind(`run-${run}`)),
  );
  const given = fc.array(fc.record({ ms: fc.nat({ max: 30_000 }), answer: answers }), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(given, fc.integer({ min: 1, max: 20 }), (steps, active) => {
      let at = 0;
      const played = steps.map(({ ms, answer }) => ({ at: (at += ms), answer }));
      const types = typesOf(play(played, { active }));
      expect(new Set(types).size).toBe(types.length);
      const open = play([...played, { at: at + 1, answer: valid }], { active });
      expect(open?.closed ?? null).toBeNull();
      expect(open === null || open.unsaid.length > 0).toBe(true);
    }),
  );
});

describe('a step that was taken out of the clock', () => {
  const HOUR = 60 * MINUTE;
  const closedAt = (at: number, probeAt: number): SourceState => ({
    since: NOON + at,
    row: [],
    closed: { reason: 'unreachable', message: 'status 503', at, probeAt, failedProbes: 0 },
    said: [],
    unsaid: [],
  });
  // An hour of it, seen five seconds after it came.
  const step = { ms: HOUR, from: NOON + HOUR + 5_000 };
  const now = NOON + 5_000;

  test.each([
    { when: 'before the step', at: NOON - 1_000, probeAt: NOON + 9_000, back: [0, 0] },
    { when: 'after it', at: now + HOUR - 100, probeAt: now + HOUR + 900, back: [HOUR, HOUR] },
    { when: 'and probed', at: NOON - 9_000, probeAt: now + HOUR + 900, back: [0, HOUR] },
    { when: 'and due', at: NOON + HOUR, probeAt: NOON + HOUR + 1_000, back: [HOUR, HOUR] },
  ])('of a source that closed $when, what was written by that clock moves', (one) => {
    const { at, probeAt, back } = one;
    const moved = movedBack(closedAt(at, probeAt), step, { now, policy });
    expect(moved.closed).toMatchObject({ at: at - back[0]!, probeAt: probeAt - back[1]! });
  });

  test.each([
    { reason: 'rate_limited' as const, ms: 60_000, waitMs: 15 * MINUTE },
    { reason: 'unauthorized' as const, ms: 2_000, waitMs: MINUTE },
  ])('a pause ($reason) that was noted by a clock without the step lasts on', (one) => {
    const { reason, ms, waitMs } = one;
    const state = closedAt(NOON, NOON + waitMs);
    const noted = { ...state, since: NOON, closed: { ...state.closed!, reason } };
    // Seen at once, a step, or the lead of a clock, that is moved back by before the pause is over.
    for (const from of [NOON + ms + 1_000, NOON + 1_000]) {
      expect(movedBack(noted, { ms, from }, { now: NOON + 1_000, policy })).toEqual(noted);
    }
  });

  test.each([
    { reason: 'rate_limited' as const, waitMs: 15 * MINUTE },
    { reason: 'unauthorized' as const, waitMs: MINUTE },
  ])('the next probe of a long closed source ($reason) is due within its longest pause', (one) => {
    const { reason, waitMs } = one;
    const state = closedAt(NOON - 2 * HOUR, NOON + HOUR + waitMs);
    const closed = { ...state.closed!, reason };
    const moved = movedBack({ ...state, since: NOON, closed }, step, { now, policy });
    expect(moved.closed?.probeAt).toBe(NOON + waitMs);
    expect(movedBack(moved, step, { now, policy })).toEqual(moved);
  });

  test('failures from before the step was seen count as an outage in time', () => {
    let state = play(row(3, down, 1_000, HOUR));
    state = state && movedBack(state, step, { now, policy });
    const context = { label: 'forge', policy, answeredAt: NOON, active: 10 };
    for (let at = 3; at < 10; at += 1) {
      const answered = now + 2_000;
      const times = { now: answered, askedAt: answered };
      state = afterAnswer(state, down(`run-${at}`), { ...context, ...times });
    }
    expect(state?.closed).toMatchObject({ reason: 'unreachable' });
  });
});
