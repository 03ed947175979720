import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Agenda } from '../../bench/replay/agenda.ts';
import { BACKOFF, FIXED } from '../../bench/replay/baselines.ts';
import { replay } from '../../bench/replay/replay.ts';
import { iso, isoWriter } from '../../bench/replay/clock.ts';
import { RunLists } from '../../bench/replay/run-lists.ts';
import { replayOurs } from '../../bench/replay/scenarios.ts';
import { Timetable, type Task } from '../../bench/replay/timetable.ts';
import { readTrace } from '../../bench/replay/trace.ts';
import { workload, type TracedRun } from '../../bench/replay/workload.ts';
import { seededRandom } from '../../src/simulator/seeded-random.ts';

const run = (changes: Partial<TracedRun> = {}): TracedRun => ({
  workflow: 'a',
  created: 0,
  started: 2,
  finished: 61,
  status: 'completed',
  progress: [],
  ...changes,
});

describe('a replay', () => {
  test('a replay of fixed polling sees an end with the first poll after it', () => {
    const { seen } = replay([run()], FIXED);
    expect(seen).toEqual([{ workflow: 'a', created: 0, requests: 14, delayS: 4 }]);
  });

  test('a replay of backoff waits longer each time', () => {
    // Polls at 0, 1, 2.5, 4.75, 8.1, 13.2, 20.8, 32.2, 49.3 and 74.9 s.
    const [seen] = replay([run()], BACKOFF).seen;
    expect(seen?.requests).toBe(10);
    expect(seen?.delayS).toBeCloseTo(13.89, 2);
  });

  test('a replay counts failed polls, and sees an end once they succeed again', () => {
    const { seen } = replay([run()], FIXED, { fails: (now) => now < 100 });
    expect(seen).toMatchObject([{ requests: 21, delayS: 39 }]);
  });

  test('a replay sends no more requests than a shared budget allows', () => {
    const runs = Array.from({ length: 10 }, () => run());
    const [last] = replay(runs, FIXED, { budgetPerS: 1 }).seen.slice(-1);
    expect(last?.requests).toBeLessThanOrEqual(8);
  });

  test('a short budget is used up from the first polls on while runs wait beyond their longest interval', () => {
    const [lastsS, budgetPerS] = [60, 20];
    const runs = Array.from({ length: 100 }, (_, at) =>
      run({ started: at / 100, finished: lastsS }),
    );
    const limits = { minIntervalMs: 1_000, maxIntervalMs: 1_000 };
    const options = { seed: 1, profile: 'normal' as const, limits };
    const { seen } = replayOurs(runs, options, { budgetPerS });
    const requests = seen.map((one) => one.requests);
    const total = requests.reduce((sum, count) => sum + count, 0);
    expect(total / (budgetPerS * lastsS)).toBeGreaterThan(0.97);
    expect(Math.max(...requests) - Math.min(...requests)).toBeLessThanOrEqual(2);
  });

  test('a replay gives the same figures each time', () => {
    const runs = workload({ seed: 5, runs: 5 });
    expect(workload({ seed: 5, runs: 5 })).toEqual(runs);
    const [one, other] = [1, 2].map(() => replayOurs(runs, { seed: 1, profile: 'normal' }));
    expect(one).toEqual(other);
  });

  test('a replay writes times in the usual format', () => {
    const random = seededRandom(4);
    const write = isoWriter();
    for (const times of [0.001, 59.999, 3_600, 86_399.999, 86_400])
      expect(write(times)).toBe(iso(times));
    for (let count = 0; count < 500; count += 1) {
      const seconds = random() * 1e7;
      expect(write(seconds)).toBe(iso(seconds));
    }
  });

  test('a replay processes events in the order of their times', () => {
    const random = seededRandom(3);
    const times = Array.from({ length: 500 }, () => random());
    const agenda = new Agenda<number>();
    for (const time of times) agenda.add(time, time);
    const taken = times.map(() => agenda.take()?.item);
    expect(taken).toEqual(times.toSorted((a, b) => a - b));
    expect(agenda.take()).toBeUndefined();
  });
});

describe('runs of one workflow that share a list feed', () => {
  /**
   * As in the bench of the daemon: two requests for each run, and about 80 for the list and its
   * checks.
   */
  const together = Array.from({ length: 100 }, (_, at) =>
    run({ started: 0, finished: 20 + at / 5 }),
  );
  const limits = { minIntervalMs: 500, maxIntervalMs: 500 };
  const ours = { seed: 1, profile: 'normal' as const, limits };
  const requestsOf = (seen: { requests: number }[]) =>
    seen.reduce((sum, { requests }) => sum + requests, 0);

  test('runs on a list are polled singly when they begin and when they have ended', () => {
    const { seen } = replayOurs(together, { ...ours, batch: true });
    const requests = requestsOf(seen);
    expect(requests).toBeGreaterThan(200 + 70);
    expect(requests).toBeLessThan(200 + 130);
    // The last run has no list any more.
    expect(Math.max(...seen.slice(0, -1).map(({ delayS }) => delayS))).toBeLessThan(0.56);
    expect(requestsOf(replayOurs(together, ours).seen)).toBeGreaterThan(5_500);
  });

  test('runs are polled singly while their list cannot be read', () => {
    const fails = (now: number) => now > 1 && now < 2;
    const { seen } = replayOurs(together, { ...ours, batch: true }, { fails });
    expect(requestsOf(seen)).toBeGreaterThan(4_000);
    expect(requestsOf(seen)).toBeLessThan(6_000);
  });

  test('runs share a budget with their list', () => {
    const { seen } = replayOurs(together, { ...ours, batch: true }, { budgetPerS: 10 });
    const lastS = Math.max(...together.map(({ finished }, at) => finished + seen[at]!.delayS));
    expect(requestsOf(seen)).toBeLessThanOrEqual(10 * lastS + 1);
    expect(requestsOf(seen)).toBeGreaterThan(200);
  });

  test('a replayed list shows runs from their creation on, the newest first', () => {
    const runs = [3, 1, 2, 9].map((created) => run({ created }));
    const lists = new RunLists(runs);
    const page = (number: number) => {
      const read = lists.page('a', { now: 5, page: number, size: 2 });
      return { ...read, runs: read.runs.map(({ created }) => created) };
    };
    expect(page(1)).toEqual({ runs: [3, 2], isLast: false });
    expect(page(2)).toEqual({ runs: [1], isLast: true });
    expect(page(3)).toEqual({ runs: [], isLast: true });
  });
});

describe('a timetable', () => {
  function world(slotS: number) {
    const done: [name: string, now: number][] = [];
    const timetable = new Timetable(slotS);
    const task = (name: string, then?: () => void): Task => ({
      deadline: (dueAt) => dueAt,
      act(now) {
        done.push([name, now]);
        then?.();
        return { requests: 1, nextAt: null };
      },
    });
    return { done, timetable, task };
  }

  test('a timetable runs moved entries only at their new time, and woken entries at once', () => {
    const { done, timetable, task } = world(0);
    const [later, earlier, woken] = [task('later'), task('earlier'), task('woken')];
    const mover = task('mover', () => {
      timetable.set(later, 8);
      timetable.set(earlier, 2);
      timetable.wake(woken);
    });
    for (const one of [later, earlier, woken]) timetable.set(one, 5);
    timetable.set(mover, 1);
    timetable.run();
    expect(done).toEqual([
      ['mover', 1],
      ['woken', 1],
      ['earlier', 2],
      ['later', 8],
    ]);
  });

  test('a timetable runs woken entries before waiting ones, and deferred entries after them', () => {
    const { done, timetable, task } = world(1);
    const [putOff, waiting, woken] = [task('put off'), task('waiting'), task('woken')];
    timetable.set(
      task('mover', () => {
        timetable.set(putOff, 9);
        timetable.wake(woken);
      }),
      0,
    );
    timetable.set(putOff, 0.1);
    timetable.set(waiting, 0.2);
    timetable.set(woken, 5);
    timetable.run();
    expect(done.map(([name]) => name)).toEqual(['mover', 'woken', 'waiting', 'put off']);
    expect(done.at(-1)).toEqual(['put off', 9]);
  });
});

describe('a trace', () => {
  let dir: string;
  beforeAll(async () => void (dir = await mkdtemp(join(tmpdir(), 'trace-'))));
  afterAll(() => rm(dir, { recursive: true }));

  async function traceOf(...lines: string[]) {
    const path = join(dir, 'trace.jsonl');
    await writeFile(path, lines.join('\n'));
    return readTrace(path);
  }

  test('a trace is read line by line', async () => {
    const line = { ...run(), progress: [[10.2, 25]] };
    expect(await traceOf(JSON.stringify(line), '', JSON.stringify(run({ workflow: 'b' })))).toEqual(
      [line, run({ workflow: 'b' })],
    );
  });

  test.each([
    ['no JSON', '{', /trace\.jsonl:2: expected JSON/],
    ['a status that no run ends with', { ...run(), status: 'running' }, /jsonl:2: status/],
    ['an end before the start', run({ finished: 1 }), /jsonl:2: expected created ≤ started/],
  ])('a trace with %s is refused by file and line', async (_, line, message) => {
    const bad = typeof line === 'string' ? line : JSON.stringify(line);
    await expect(traceOf(JSON.stringify(run()), bad)).rejects.toThrow(message);
  });
});
