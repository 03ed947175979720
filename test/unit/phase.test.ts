import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { KNOWN_STATUSES, type RunSnapshot } from '../../src/core/run/snapshot.ts';
import { phasesAfter, censoredSamples, durationSamples } from '../../src/core/cadence/phase.ts';
import type { Phase } from '../../src/core/watch/watch.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const iso = (seconds: number) => new Date(NOON + seconds * 1_000).toISOString();

interface Look extends Partial<RunSnapshot> {
  /** Seconds after noon, when the run is created. */
  at: number;
}

/** Polls a run and returns its phases, with times in seconds after noon, and all samples. */
function follow(looks: Look[]) {
  let watch = newWatch();
  const samples = looks.flatMap(({ at, ...changes }) => {
    const now = NOON + at * 1_000;
    const run = snapshot({ observed_at: iso(at), ...changes });
    const phases = phasesAfter(watch.phases, watch.run, run, now);
    const state = run.finished_at === null ? ('active' as const) : ('finished' as const);
    const after = { ...watch, run, phases, state };
    const told = durationSamples(watch, after, now);
    watch = after;
    return told;
  });
  const relative = (time: number) => (time - NOON) / 1_000;
  const inShort = ({ state, since, seenAt, secondMs }: Phase) => ({
    state,
    since: relative(since),
    seenAt: seenAt === null ? null : relative(seenAt),
    secondMs,
  });
  return { watch, phases: watch.phases.map(inShort), samples };
}

const queued = (at: number): Look => ({ at, status: 'queued' });
const running = (at: number, progress = 0): Look => ({ at, progress, started_at: iso(10) });
const waits = (at: number): Look => ({
  ...running(at, 40),
  status: 'awaiting_human_feedback',
});
const completed = (at: number, finished = at): Look => ({
  at,
  status: 'completed',
  progress: 100,
  started_at: iso(10),
  finished_at: iso(finished),
});

describe('phases of a run', () => {
  test("a phase begins at Noxus's time where it gives one", () => {
    expect(follow([queued(3), running(14)]).phases).toEqual([
      { state: 'queued', since: 0, seenAt: 3, secondMs: 1_000 },
      { state: 'running/0', since: 10, seenAt: 14, secondMs: 1_000 },
    ]);
  });

  test('a phase does not begin before a poll that saw the run elsewhere', () => {
    expect(follow([queued(12), running(14)]).phases.at(-1)).toMatchObject({ since: 12 });
  });

  test('a phase begins half-way between two polls where Noxus gives no time', () => {
    expect(follow([running(20, 5), running(30, 42)]).phases.at(-1)).toMatchObject({
      state: 'running/40',
      since: 25,
    });
  });

  test("a phase's clock follows the run's pace: the end is expected at its 100 s", () => {
    // 25 % took the 20 s since the start, so 75 % will take 60 s.
    const { phases } = follow([running(26, 5), running(34, 25)]);
    expect(phases.at(-1)).toMatchObject({ state: 'running/20', since: 30, secondMs: 600 });
  });

  test('a phase has no known beginning where the first poll comes too late for it', () => {
    expect(follow([running(500, 42)]).phases).toMatchObject([{ since: 500, seenAt: null }]);
    expect(follow([running(500)]).phases).toMatchObject([{ since: 10, seenAt: 500 }]);
  });

  test('a phase begins anew where progress falls back, and occurs once', () => {
    const { phases } = follow([running(20, 35), running(30, 85), running(40, 32)]);
    expect(phases.map(({ state, since }) => [state, since])).toEqual([
      ['running/80', 25],
      ['running/30', 35],
    ]);
  });

  test('phases start afresh when the run begins to wait for a human, and when it goes on', () => {
    const before = follow([running(20, 35), waits(30)]);
    expect(before.phases.map(({ state }) => state)).toEqual(['awaiting_human_feedback']);
    const after = follow([running(20, 35), waits(30), running(50, 40), running(60, 90)]);
    expect(after.phases).toMatchObject([{ state: 'resumed', since: 40, secondMs: 1_000 }]);
  });

  test('phases are bounded in number, whatever a run does', () => {
    const anyLook = fc.tuple(
      fc.constantFrom(...KNOWN_STATUSES.filter((status) => status !== 'completed')),
      fc.integer({ min: -50, max: 300 }),
    );
    fc.assert(
      fc.property(fc.array(anyLook, { maxLength: 100 }), (looks) => {
        const { phases } = follow(
          looks.map(([status, progress], at) => ({ at, status, progress })),
        );
        expect(phases.length).toBeLessThanOrEqual(12);
        expect(phases.every(({ secondMs }) => secondMs >= 1)).toBe(true);
      }),
    );
  });
});

describe('duration samples', () => {
  test('a major transition yields the watched time to it from each phase on', () => {
    const { samples } = follow([queued(3), running(14), completed(100, 90)]);
    const news = samples.filter(({ state }) => state === null || state.startsWith('transition/'));
    expect(news).toMatchObject([
      { state: 'transition/queued', fromS: 3, toS: 90, ended: true },
      { state: 'transition/running/0', fromS: 4, toS: 80, ended: true },
      { state: null, fromS: 0, toS: 80, ended: true },
    ]);
  });

  test('leaving a phase yields its dwell time', () => {
    const { samples } = follow([queued(3), running(14), running(30, 50)]);
    expect(samples).toMatchObject([
      { state: 'queued', fromS: 3, toS: 10, ended: true },
      { state: 'running/0', fromS: 4, toS: 12, ended: true },
    ]);
  });

  test('a transition lies half-way between the polls where Noxus gives no time', () => {
    const { samples } = follow([running(20), waits(30)]);
    expect(samples.at(-1)).toMatchObject({ state: null, fromS: 10, toS: 15, ended: true });
  });

  test('an end lies between the polls, whatever the clocks of Noxus show', () => {
    const early = follow([running(20), completed(30, 12)]).samples.at(-1);
    const late = follow([running(20), completed(30, 50)]).samples.at(-1);
    expect([early?.toS, late?.toS]).toEqual([10, 20]);
  });

  test('a phase without a known beginning yields no sample, but the whole run does', () => {
    const { samples } = follow([running(60, 42), completed(100)]);
    expect(samples).toMatchObject([{ state: null, fromS: 50, toS: 90 }]);
  });

  test('a run that ended before the first poll yields no sample', () => {
    expect(follow([completed(30)]).samples).toEqual([]);
  });

  test('human feedback time yields no sample of the work', () => {
    const { samples } = follow([waits(30), running(50, 40), completed(90)]);
    expect(samples.map(({ state }) => state)).toEqual(['resumed', 'transition/resumed']);
  });

  test('censored samples only say that no transition came until the last poll', () => {
    const { watch } = follow([running(20), running(40)]);
    expect(censoredSamples(watch)).toMatchObject([
      { state: 'running/0', fromS: 10, toS: 30, ended: false },
      { state: 'transition/running/0', fromS: 10, toS: 30, ended: false },
      { state: null, fromS: 10, toS: 30, ended: false },
    ]);
    expect(durationSamples(watch, { ...watch, state: 'expired' }, NOON + 50_000)).toHaveLength(3);
    expect(censoredSamples(newWatch())).toEqual([]);
  });
});
