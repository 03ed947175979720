import { execFile } from 'node:child_process';
import { expect, test } from '@jest/globals';
import type { Figure } from '../../bench/support/figures.ts';

interface Summary {
  requestsPerRun: number;
  mean: number;
}

interface Replayed {
  code: number | null;
  figures: Figure[];
  /** By what was replayed and by policy. */
  details: Record<string, Record<string, Summary>>;
}

/** In a process of its own, for the modules of a test are several times as slow. */
function benchReplay(...options: string[]): Promise<Replayed> {
  const node = ['--max-semi-space-size=64', '--import', 'tsx'];
  const args = [...node, 'bench/run.ts', 'replay', '--json', ...options];
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, args, (_error, stdout, stderr) => {
      if (stdout === '') return reject(new Error(stderr));
      const { figures, details } = JSON.parse(stdout) as Omit<Replayed, 'code'>;
      resolve({ code: child.exitCode, figures, details });
    });
  });
}

test('a replay that misses a bound says so by its exit code', async () => {
  // So few runs teach too little to keep all the bounds that hold for more.
  const { code, figures } = await benchReplay('--runs', '100', '--seed', '1');
  expect(figures.length).toBeGreaterThanOrEqual(14);
  expect(code).toBe(1);
}, 60_000);

test('a replay with lists compares them with single polls, and judges nothing', async () => {
  const { code, figures, details } = await benchReplay('--runs', '150', '--batch');
  expect([code, figures]).toEqual([0, []]);
  const [comparison = {}] = Object.values(details);
  const { 'runwatch normal': single, 'runwatch normal, by lists': listed } = comparison;
  expect(listed?.requestsPerRun).toBeLessThan(single?.requestsPerRun ?? 0);
  expect(listed?.mean).toBeLessThan(single?.mean ?? 0);
}, 60_000);
