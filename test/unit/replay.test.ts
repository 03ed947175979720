import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { BACKOFF, FIXED } from '../../bench/replay/baselines.ts';
import { replay } from '../../bench/replay/replay.ts';
import { replayOurs } from '../../bench/replay/scenarios.ts';
import { readTrace } from '../../bench/replay/trace.ts';
import { workload, type TracedRun } from '../../bench/replay/workload.ts';

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
});

describe('runs of one workflow that share a list feed', () => {
  /**
   * As in the bench of the daemon: two requests for each run, and about 130 for the list and its
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
    const { seen } = replayOurs(together, { ...ours, lists: true });
    const requests = requestsOf(seen);
    expect(requests).toBeGreaterThan(200 + 70);
    expect(requests).toBeLessThan(200 + 140);
    // The last run has no list any more.
    expect(Math.max(...seen.slice(0, -1).map(({ delayS }) => delayS))).toBeLessThan(0.56);
    expect(requestsOf(replayOurs(together, ours).seen)).toBeGreaterThan(5_500);
  });

  test('runs are polled singly while their list cannot be read', () => {
    const fails = (now: number) => now > 1 && now < 2;
    const { seen } = replayOurs(together, { ...ours, lists: true }, { fails });
    expect(requestsOf(seen)).toBeGreaterThan(4_000);
    expect(requestsOf(seen)).toBeLessThan(6_000);
  });

  test('runs share a budget with their list', () => {
    const { seen } = replayOurs(together, { ...ours, lists: true }, { budgetPerS: 10 });
    const lastS = Math.max(...together.map(({ finished }, at) => finished + seen[at]!.delayS));
    expect(requestsOf(seen)).toBeLessThanOrEqual(10 * lastS + 1);
    expect(requestsOf(seen)).toBeGreaterThan(200);
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
