import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { KNOWN_STATUSES, type RunSnapshot } from '../../src/core/run.ts';
import { stagesAfter, type Stage } from '../../src/core/stage.ts';
import { lessonsCutShort, lessonsOf } from '../../src/core/stage-lessons.ts';
import { newWatch, NOON, snapshot } from '../support/builders.ts';

const iso = (seconds: number) => new Date(NOON + seconds * 1_000).toISOString();

interface Look extends Partial<RunSnapshot> {
  /** Seconds after noon, when the run is created. */
  at: number;
}

/** Looks at a run and gives its stages, with times in seconds after noon, and all lessons. */
function follow(looks: Look[]) {
  let watch = newWatch();
  const lessons = looks.flatMap(({ at, ...changes }) => {
    const now = NOON + at * 1_000;
    const run = snapshot({ observed_at: iso(at), ...changes });
    const stages = stagesAfter(watch.stages, watch.run, run, now);
    const state = run.finished_at === null ? ('active' as const) : ('finished' as const);
    const after = { ...watch, run, stages, state };
    const told = lessonsOf(watch, after, now);
    watch = after;
    return told;
  });
  const relative = (time: number) => (time - NOON) / 1_000;
  const inShort = ({ state, since, seenAt, secondMs }: Stage) => ({
    state,
    since: relative(since),
    seenAt: seenAt === null ? null : relative(seenAt),
    secondMs,
  });
  return { watch, stages: watch.stages.map(inShort), lessons };
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

describe('the stages of a run', () => {
  test('begin when Noxus says so, where it does', () => {
    expect(follow([queued(3), running(14)]).stages).toEqual([
      { state: 'queued', since: 0, seenAt: 3, secondMs: 1_000 },
      { state: 'running/0', since: 10, seenAt: 14, secondMs: 1_000 },
    ]);
  });

  test('do not begin before a look that saw the run elsewhere', () => {
    expect(follow([queued(12), running(14)]).stages.at(-1)).toMatchObject({ since: 12 });
  });

  test('begin half-way between two looks where nobody says when', () => {
    expect(follow([running(20, 5), running(30, 42)]).stages.at(-1)).toMatchObject({
      state: 'running/40',
      since: 25,
    });
  });

  test('go by the pace of the run: its end is expected at 100 s of their clock', () => {
    // 25 % took the 20 s since the start, so that 75 % are going to take 60 s.
    const { stages } = follow([running(26, 5), running(34, 25)]);
    expect(stages.at(-1)).toMatchObject({ state: 'running/20', since: 30, secondMs: 600 });
  });

  test('have no known beginning where the first look comes too late for it', () => {
    expect(follow([running(500, 42)]).stages).toMatchObject([{ since: 500, seenAt: null }]);
    expect(follow([running(500)]).stages).toMatchObject([{ since: 10, seenAt: 500 }]);
  });

  test('begin anew where progress falls back, and are there once each', () => {
    const { stages } = follow([running(20, 35), running(30, 85), running(40, 32)]);
    expect(stages.map(({ state, since }) => [state, since])).toEqual([
      ['running/80', 25],
      ['running/30', 35],
    ]);
  });

  test('start afresh when the run begins to wait for a human, and when it goes on', () => {
    const before = follow([running(20, 35), waits(30)]);
    expect(before.stages.map(({ state }) => state)).toEqual(['awaiting_human_feedback']);
    const after = follow([running(20, 35), waits(30), running(50, 40), running(60, 90)]);
    expect(after.stages).toMatchObject([{ state: 'resumed', since: 40, secondMs: 1_000 }]);
  });

  test('are bounded in number, whatever a run does', () => {
    const anyLook = fc.tuple(
      fc.constantFrom(...KNOWN_STATUSES.filter((status) => status !== 'completed')),
      fc.integer({ min: -50, max: 300 }),
    );
    fc.assert(
      fc.property(fc.array(anyLook, { maxLength: 100 }), (looks) => {
        const { stages } = follow(
          looks.map(([status, progress], at) => ({ at, status, progress })),
        );
        expect(stages.length).toBeLessThanOrEqual(12);
        expect(stages.every(({ secondMs }) => secondMs >= 1)).toBe(true);
      }),
    );
  });
});

describe('lessons', () => {
  test('tell with the news how long it took from each stage on, from when that was watched', () => {
    const { lessons } = follow([queued(3), running(14), completed(100, 90)]);
    const news = lessons.filter(({ state }) => state === null || state.startsWith('news/'));
    expect(news).toMatchObject([
      { state: 'news/queued', fromS: 3, toS: 90, ended: true },
      { state: 'news/running/0', fromS: 4, toS: 80, ended: true },
      { state: null, fromS: 0, toS: 80, ended: true },
    ]);
  });

  test('tell when a stage is left how long the run stayed there', () => {
    const { lessons } = follow([queued(3), running(14), running(30, 50)]);
    expect(lessons).toMatchObject([
      { state: 'queued', fromS: 3, toS: 10, ended: true },
      { state: 'running/0', fromS: 4, toS: 12, ended: true },
    ]);
  });

  test('put news half-way between the looks where Noxus gives no time', () => {
    const { lessons } = follow([running(20), waits(30)]);
    expect(lessons.at(-1)).toMatchObject({ state: null, fromS: 10, toS: 15, ended: true });
  });

  test('keep an end within the looks, however the clocks of Noxus go', () => {
    const early = follow([running(20), completed(30, 12)]).lessons.at(-1);
    const late = follow([running(20), completed(30, 50)]).lessons.at(-1);
    expect([early?.toS, late?.toS]).toEqual([10, 20]);
  });

  test('leave out a stage whose beginning nobody saw, but not the run as a whole', () => {
    const { lessons } = follow([running(60, 42), completed(100)]);
    expect(lessons).toMatchObject([{ state: null, fromS: 50, toS: 90 }]);
  });

  test('are none of a run that had ended before anybody looked', () => {
    expect(follow([completed(30)]).lessons).toEqual([]);
  });

  test('of a human who takes his time are no lessons of the work', () => {
    const { lessons } = follow([waits(30), running(50, 40), completed(90)]);
    expect(lessons.map(({ state }) => state)).toEqual(['resumed', 'news/resumed']);
  });

  test('that are cut short say only that no news came until the last look', () => {
    const { watch } = follow([running(20), running(40)]);
    expect(lessonsCutShort(watch)).toMatchObject([
      { state: 'running/0', fromS: 10, toS: 30, ended: false },
      { state: 'news/running/0', fromS: 10, toS: 30, ended: false },
      { state: null, fromS: 10, toS: 30, ended: false },
    ]);
    expect(lessonsOf(watch, { ...watch, state: 'expired' }, NOON + 50_000)).toHaveLength(3);
    expect(lessonsCutShort(newWatch())).toEqual([]);
  });
});
