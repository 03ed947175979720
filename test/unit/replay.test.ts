import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Agenda } from '../../bench/replay/agenda.ts';
import { BACKOFF, FIXED } from '../../bench/replay/baselines.ts';
import { replay } from '../../bench/replay/replay.ts';
import { replayOurs } from '../../bench/replay/scenarios.ts';
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
  test('of fixed polling sees an end with the first look after it', () => {
    const { seen } = replay([run()], FIXED);
    expect(seen).toEqual([{ workflow: 'a', created: 0, requests: 14, delayS: 4 }]);
  });

  test('of backoff waits longer each time', () => {
    // Looks at 0, 1, 2.5, 4.75, 8.1, 13.2, 20.8, 32.2, 49.3 and 74.9 s.
    const [seen] = replay([run()], BACKOFF).seen;
    expect(seen?.requests).toBe(10);
    expect(seen?.delayS).toBeCloseTo(13.89, 2);
  });

  test('counts the reads that failed, and sees an end once they do no more', () => {
    const { seen } = replay([run()], FIXED, { fails: (now) => now < 100 });
    expect(seen).toMatchObject([{ requests: 21, delayS: 39 }]);
  });

  test('sends no more than a shared budget allows', () => {
    const runs = Array.from({ length: 10 }, () => run());
    const [last] = replay(runs, FIXED, { budgetPerS: 1 }).seen.slice(-1);
    expect(last?.requests).toBeLessThanOrEqual(8);
  });

  test('gives the same figures each time', () => {
    const runs = workload({ seed: 5, runs: 5 });
    expect(workload({ seed: 5, runs: 5 })).toEqual(runs);
    const [one, other] = [1, 2].map(() => replayOurs(runs, { seed: 1, profile: 'normal' }));
    expect(one).toEqual(other);
  });

  test('takes things in the order of their times', () => {
    const random = seededRandom(3);
    const times = Array.from({ length: 500 }, () => random());
    const agenda = new Agenda<number>();
    for (const time of times) agenda.add(time, time);
    const taken = times.map(() => agenda.take()?.item);
    expect(taken).toEqual(times.toSorted((a, b) => a - b));
    expect(agenda.take()).toBeUndefined();
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

  test('is read line by line', async () => {
    const line = { ...run(), progress: [[10.2, 25]] };
    expect(await traceOf(JSON.stringify(line), '', JSON.stringify(run({ workflow: 'b' })))).toEqual(
      [line, run({ workflow: 'b' })],
    );
  });

  test.each([
    ['no JSON', '{', /trace\.jsonl:2: expected JSON/],
    ['a status that no run ends with', { ...run(), status: 'running' }, /jsonl:2: status/],
    ['an end before the start', run({ finished: 1 }), /jsonl:2: expected created ≤ started/],
  ])('with %s is refused by file and line', async (_, line, message) => {
    const bad = typeof line === 'string' ? line : JSON.stringify(line);
    await expect(traceOf(JSON.stringify(run()), bad)).rejects.toThrow(message);
  });
});
