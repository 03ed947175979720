import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { KNOWN_STATUSES, isTerminalStatus } from '../../src/core/run/snapshot.ts';
import { afterContradiction, isInconsistent } from '../../src/core/source/consistency.ts';
import { observe } from '../../src/core/watch/observe.ts';
import type { Watch } from '../../src/core/watch/watch.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';
import { newWatch, NOON, observeContext, snapshot } from '../support/builders.ts';
import { followSource, type SaidBySource } from '../support/lagging-source.ts';

const AWAITING = 'awaiting_human_feedback';
const ENTRY = 'run.awaiting_human_feedback';

interface Sight {
  status: string;
  progress?: number;
  isConsistent?: boolean;
  executed?: number;
}

/** One poll at a time since noon. */
function poll(watch: Watch, atMs: number, { isConsistent = true, executed, ...run }: Sight) {
  const nodes = executed === undefined ? null : { executed, remaining: 1, running: [], failed: [] };
  return observe(
    watch,
    { kind: 'run', run: snapshot({ progress: 50, ...run }) },
    { ...observeContext(NOON + atMs), isConsistent, nodes },
  );
}

/** Polls one after another. */
function follow(sights: readonly (Sight & { at: number })[], first = newWatch()) {
  let watch = first;
  const types = sights.flatMap(({ at, ...sight }) => {
    const observed = poll(watch, at, sight);
    ({ watch } = observed);
    return observed.events.map(({ type }) => type);
  });
  return { watch, types };
}

describe('a poll that takes something back', () => {
  test('a run leaves its wait once a second poll agrees, min_interval later', () => {
    const waits = follow([{ at: 0, status: AWAITING }]).watch;
    const doubted = poll(waits, 10_000, { status: 'running' });
    expect(doubted.events).toEqual([]);
    expect(doubted.watch).toMatchObject({
      run: { status: AWAITING },
      nextPollAt: NOON + 11_000,
    });
    const early = poll(doubted.watch, 10_300, { status: 'running' });
    expect(early.events).toEqual([]);
    expect(early.watch.nextPollAt).toBe(NOON + 11_000);
    const { events, agreement } = poll(early.watch, 11_000, { status: 'running' });
    expect(events.map(({ type }) => type)).toEqual(['run.resumed']);
    expect(agreement).toBe('agreed');
  });

  test.each<[string, Sight]>([
    ['progress', { status: 'running', progress: 60 }],
    ['a node', { status: 'running', executed: 5 }],
    ['an end', { status: 'stopped', progress: 0 }],
  ])('a run leaves its wait at once where the poll shows %s', (_what, sight) => {
    const { watch } = follow([{ at: 0, status: AWAITING, executed: 4 }]);
    expect(poll(watch, 2_000, sight).events.map(({ type }) => type)).toContain('run.resumed');
  });

  test.each<[string, Sight, Sight]>([
    ['less progress', { status: 'running', progress: 40 }, { status: 'running', progress: 30 }],
    ['an earlier state', { status: 'running' }, { status: 'queued' }],
  ])('a poll that shows %s counts once a second one agrees', (_what, before, after) => {
    const { watch } = follow([{ at: 0, ...before }]);
    const first = poll(watch, 5_000, after).watch;
    expect(first.run).toEqual(watch.run);
    expect(poll(first, 6_000, after).watch.run).toMatchObject(after);
  });

  /** A wait, then polls each second, from three seconds later on. */
  const after = (...statuses: string[]) => {
    const later = statuses.map((status, at) => ({ at: 3_000 + at * 1_000, status }));
    return follow([{ at: 0, status: AWAITING }, ...later]);
  };

  test('a second poll that disagrees notifies nothing of a young wait, and a third one is due at once', () => {
    const { watch } = after('running');
    const second = poll(watch, 4_000, { status: AWAITING });
    expect([second.events, second.agreement]).toEqual([[], null]);
    expect(second.watch.nextPollAt).toBe(NOON + 5_000);
    const third = poll(second.watch, 5_000, { status: AWAITING });
    expect([third.agreement, third.watch.doubt]).toEqual([null, null]);
  });

  test('a third poll that takes back the same contradicts the second, since no wait is so short', () => {
    const { watch } = after('running', AWAITING);
    expect(poll(watch, 5_000, { status: 'running' })).toMatchObject({
      events: [],
      agreement: 'contradicted',
      watch: { doubt: { since: NOON + 5_000, reads: 1 } },
    });
    expect(poll(watch, 5_700, { status: 'running' }).agreement).toBe('contradicted');
    expect(poll(watch, 5_800, { status: 'running' }).agreement).toBeNull();
  });

  test('a wait that one poll shows between two of work is a contradiction, unless it may have lasted', () => {
    const { watch } = after('running', 'running', AWAITING);
    expect(poll(watch, 6_000, { status: 'running' }).agreement).toBe('contradicted');
    expect(poll(watch, 7_000, { status: 'running' }).agreement).toBeNull();
  });

  test('lag of polls does not make a wait look longer than it may have been', () => {
    const { watch } = after('running', AWAITING);
    const run = snapshot({ progress: 50, status: 'running' });
    const lagging = (lagMs: number, atMs: number) =>
      observe(watch, { kind: 'run', run }, { ...observeContext(NOON + atMs), lagMs }).agreement;
    expect(lagging(1_200, 6_200)).toBe('contradicted');
    expect(lagging(0, 6_200)).toBeNull();
    // What lags by more may have missed a wait.
    expect(lagging(20_000, 25_000)).toBeNull();
  });

  test('a second wait is notified that began before a second poll could agree on the work between', () => {
    const { types } = follow([
      { at: 0, status: AWAITING },
      { at: 20_000, status: 'running' },
      { at: 21_000, status: AWAITING },
    ]);
    expect(types).toEqual([ENTRY, 'run.resumed', ENTRY]);
  });

  test('at an inconsistent source five polls over 30 s must agree', () => {
    const back = { status: 'running', isConsistent: false };
    const at = (ms: number) => ({ at: 10_000 + ms, ...back });
    const four = [at(0), at(7_500), at(15_000), at(22_500)];
    const waits = follow([{ at: 0, status: AWAITING }, ...four]);
    expect(waits.types).toEqual([ENTRY]);
    expect(waits.watch.nextPollAt).toBe(NOON + 40_000);
    expect(follow([at(30_000)], waits.watch).types).toEqual(['run.resumed']);
  });

  test('at an inconsistent source a wait that may be another is notified once it lasts a minute', () => {
    const waits = (at: number) => ({ at, status: AWAITING, isConsistent: false });
    const { types, watch } = follow([
      waits(0),
      { ...waits(20_000), status: 'running' },
      waits(27_500),
    ]);
    expect(types).toEqual([ENTRY]);
    expect(watch.nextPollAt).toBeLessThanOrEqual(NOON + 35_000);
    const polls = Array.from({ length: 8 }, (_, count) => waits(35_000 + count * 7_500));
    expect(follow(polls, watch).types).toEqual(['run.resumed', ENTRY]);
  });

  test('an end counts at once, whatever is in doubt', () => {
    fc.assert(
      fc.property(sightsOf, fc.constantFrom('completed', 'failed', 'stopped'), (sights, status) => {
        const { watch } = follow(sights);
        fc.pre(watch.state === 'active');
        const ended = poll(watch, 3_600_000, { status, progress: 0 });
        expect(ended.watch).toMatchObject({ state: 'finished', doubt: null, waits: null });
        expect(ended.events.at(-1)?.type).toBe(`run.${status}`);
      }),
    );
  });
});

/** Polls of one run, up to ten seconds apart. */
const sightsOf = fc
  .array(
    fc.record({
      afterMs: fc.integer({ min: 100, max: 10_000 }),
      status: fc.constantFrom(...KNOWN_STATUSES, 'awaiting_event').filter(isGoing),
      progress: fc.constantFrom(10, 50, 90),
      isConsistent: fc.boolean(),
    }),
    { maxLength: 40 },
  )
  .map((polls) => {
    let at = 0;
    return polls.map(({ afterMs, ...sight }) => ({ ...sight, at: (at += afterMs) }));
  });

function isGoing(status: string): boolean {
  return !isTerminalStatus(status);
}

describe('notices of repeated waits', () => {
  test('a wait that lasts is notified a minute later at the latest, whatever the polls said before', () => {
    fc.assert(
      fc.property(sightsOf, fc.boolean(), (sights, isConsistent) => {
        const before = follow(sights);
        const from = (sights.at(-1)?.at ?? 0) + 1_000;
        const polls = Array.from({ length: 30 }, (_, count) => ({
          at: from + count * 7_500,
          status: AWAITING,
          progress: 90,
          isConsistent,
        }));
        const { watch, types } = follow(polls, before.watch);
        expect(watch.run?.status).toBe(AWAITING);
        expect(watch.waits?.pending).toBeNull();
        const all = [...before.types, ...types];
        const moves = all.filter((type) => type === ENTRY || type === 'run.resumed');
        expect(moves.at(-1)).toBe(ENTRY);
      }),
    );
  });

  test('a fourth entry at one place within ten minutes is notified once it lasts a minute', () => {
    const once = (from: number) => [
      { at: from, status: AWAITING },
      { at: from + 7_000, status: 'running' },
      { at: from + 8_000, status: 'running' },
    ];
    const { types, watch } = follow([0, 20_000, 40_000, 60_000].flatMap(once));
    expect(types.filter((type) => type === ENTRY)).toHaveLength(3);
    expect(types.filter((type) => type === 'run.resumed')).toHaveLength(3);
    const lasts = [80_000, 110_000, 140_000].map((at) => ({ at, status: AWAITING }));
    expect(follow(lasts, watch).types).toEqual([ENTRY]);
    expect(follow([{ at: 80_000, status: AWAITING, progress: 60 }], watch).types).toContain(ENTRY);
  });

  test('waits by ever new names at one place are one wait', () => {
    const sights = Array.from({ length: 20 }, (_, count) => ({
      at: count * 1_000,
      status: `awaiting_${count}`,
    }));
    expect(follow(sights).types.filter((type) => type === ENTRY)).toHaveLength(1);
  });

  test.each([
    ['with progress', 10],
    ['without progress', 0],
  ])('a run that enters three waits in a row %s, 3 s apart, is notified three times', (_, step) => {
    for (let seed = 0; seed < 20; seed += 1) {
      const random = seededRandom(seed);
      const run: SaidBySource = (at) => {
        const [wait, since] = [Math.floor(at / 6_000), at % 6_000];
        if (wait > 2) return { status: 'completed', progress: 100 };
        const isWaiting = since < 3_000;
        const progress = step * (2 * wait + (isWaiting ? 0 : 1));
        return { status: isWaiting ? AWAITING : 'running', progress };
      };
      const found = followSource({ runs: [run], forMs: 60_000, requestMs: 2, random });
      expect(found.at(ENTRY)).toHaveLength(3);
      expect(found.inconsistentAt).toEqual([]);
    }
  });

  /** The same for several runs of one source, which begin at any time within the first wait. */
  const waitsOf = fc.record({
    waitMs: fc.integer({ min: 6_000, max: 14_000 }),
    step: fc.constantFrom(0, 10),
    seed: fc.integer({ min: 0, max: 1_000_000 }),
  });

  test.each([
    // At this rate 20 runs are polled every 2 s at most: now and then 3 s of work are between two polls.
    [10, 54],
    [500, 60],
  ])(
    '20 runs that enter three waits in a row each, at %d requests/s, are notified of each and seem consistent',
    (perS, least) => {
      fc.assert(
        fc.property(waitsOf, ({ waitMs, step, seed }) => {
          const random = seededRandom(seed);
          const lastsMs = waitMs + 3_000;
          const runs = Array.from({ length: 20 }, (): SaidBySource => {
            const beginsAt = lastsMs * random();
            return (at) => {
              const [wait, since] = [
                Math.floor((at - beginsAt) / lastsMs),
                (at - beginsAt) % lastsMs,
              ];
              if (wait < 0) return { status: 'running', progress: 0 };
              if (wait > 2) return { status: 'completed', progress: 100 };
              const isWaiting = since < waitMs;
              const progress = step * (2 * wait + (isWaiting ? 0 : 1));
              return { status: isWaiting ? AWAITING : 'running', progress };
            };
          });
          const options = { runs, forMs: 5 * lastsMs, requestMs: 1_000 / perS, random };
          const found = followSource(options);
          expect(found.inconsistentAt).toEqual([]);
          expect(found.at(ENTRY).length).toBeGreaterThanOrEqual(least);
          expect(Math.max(...found.byRun(ENTRY))).toBe(3);
        }),
        { numRuns: 8 },
      );
    },
  );
});

describe('a source behind a lagging replica', () => {
  const half = (random: () => number) => () => ({
    status: random() < 0.5 ? AWAITING : 'running',
    progress: 50,
  });

  test.each([10, 500])(
    '20 runs that wait while half of the polls are of before, at %d requests/s: 40 notices at most',
    (perS) => {
      for (let seed = 0; seed < 20; seed += 1) {
        const random = seededRandom(seed);
        const runs = Array.from({ length: 20 }, () => half(random));
        const options = { runs, forMs: 120_000, requestMs: 1_000 / perS, random };
        const found = followSource(options);
        expect(found.inconsistentAt).toHaveLength(1);
        expect(found.at(ENTRY).length).toBeLessThanOrEqual(40);
      }
    },
  );

  test('runs behind a cache that flips every 7 s are notified three times at most', () => {
    const flips: SaidBySource = (at) => ({
      status: Math.floor(at / 7_000) % 2 === 0 ? AWAITING : 'running',
      progress: 50,
    });
    for (let seed = 0; seed < 5; seed += 1) {
      const random = seededRandom(seed);
      const runs = Array.from({ length: 20 }, () => flips);
      const found = followSource({ runs, forMs: 180_000, requestMs: 2, random });
      expect(Math.max(...found.byRun(ENTRY))).toBe(3);
    }
  });

  test('a share of the doubts makes a source inconsistent, and not a number of contradictions', () => {
    const after = (contradictions: { runId: string; stood: number }[]) =>
      contradictions.reduce<ReturnType<typeof afterContradiction> | null>(
        (found, one, at) => afterContradiction(found, { ...one, now: NOON + at * 1_000 }),
        null,
      );
    const is = (contradictions: { runId: string; stood: number }[]) =>
      isInconsistent(after(contradictions), NOON + 60_000);
    const ofRuns = (stood: number, ...runIds: string[]) =>
      runIds.map((runId) => ({ runId, stood }));
    expect(is(ofRuns(0, 'a'))).toBe(false);
    expect(is(ofRuns(0, 'a', 'b'))).toBe(true);
    expect(is(ofRuns(0, 'a', 'a', 'a'))).toBe(false);
    expect(is(ofRuns(0, 'a', 'a', 'a', 'a'))).toBe(true);
    expect(is(ofRuns(6, 'a', 'b', 'c', 'd', 'e', 'f', 'g'))).toBe(false);
    expect(is(ofRuns(4, 'a', 'b', 'c', 'd'))).toBe(true);
  });

  test('ten minutes without a contradiction end it, and what was before does not count after', () => {
    const first = afterContradiction(null, { runId: 'a', stood: 0, now: NOON });
    const found = afterContradiction(first, { runId: 'b', stood: 0, now: NOON });
    expect(isInconsistent(found, NOON + 599_999)).toBe(true);
    expect(isInconsistent(found, NOON + 600_000)).toBe(false);
    const later = afterContradiction(first, { runId: 'b', stood: 0, now: NOON + 600_000 });
    expect(isInconsistent(later, NOON + 600_000)).toBe(false);
  });
});
