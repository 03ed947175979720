import { execFile } from 'node:child_process';
import { expect, test } from '@jest/globals';

interface Replayed {
  code: number | null;
  figures: { name: string; value: number }[];
}

/** In a process of its own, for the modules of a test are several times as slow. */
function benchReplay(...options: string[]): Promise<Replayed> {
  const args = ['--import', 'tsx', 'bench/run.ts', 'replay', '--json', ...options];
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, args, (_error, stdout, stderr) => {
      if (stdout === '') return reject(new Error(stderr));
      const { figures } = JSON.parse(stdout) as Pick<Replayed, 'figures'>;
      resolve({ code: child.exitCode, figures });
    });
  });
}

test('a replay that misses a bound says so by its exit code', async () => {
  // So few runs teach too little to keep all the bounds that hold for more.
  const { code, figures } = await benchReplay('--runs', '100', '--seed', '1');
  expect(figures.length).toBeGreaterThanOrEqual(12);
  expect(code).toBe(1);
}, 60_000);
