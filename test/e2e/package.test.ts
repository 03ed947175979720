import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cleanEnv } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

let folder: string;
let packed: string[];

/** Installs the packed tarball as npm would, with the packages of this checkout: no network is needed. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: ROOT, env: cleanEnv() });
  const [tarball] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  packed = tarball?.files.map(({ path }) => path) ?? [];
  const home = join(folder, 'node_modules/runwatch');
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true });
  await mkdir(home);
  const file = join(folder, tarball?.filename ?? '');
  await run('tar', ['-xzf', file, '-C', home, '--strip-components=1']);
  await symlink(join(ROOT, 'node_modules'), join(home, 'node_modules'));
  await symlink('../runwatch/dist/main.js', join(folder, 'node_modules/.bin/runwatch'));
}, 60_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

test('the package holds what runs, and neither tests nor sources nor maps', () => {
  expect(packed).toEqual(
    expect.arrayContaining(['dist/main.js', 'config/redis.conf', 'README.md', 'LICENSE']),
  );
  expect(packed.filter((path) => /^(src|test|bench|scripts)\/|\.map$/.test(path))).toEqual([]);
});

test('the packed command line runs by npx in an empty folder, and its demo comes to life', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const npx = ['exec', '--offline', '--', 'runwatch', '--version'];
  const { stdout } = await run('npm', npx, { cwd: folder, env: cleanEnv() });
  expect(stdout.trim()).toBe(version);

  const demo = spawn(join(folder, 'node_modules/.bin/runwatch'), ['demo'], {
    cwd: folder,
    env: cleanEnv({ TMPDIR: folder }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [demo.stdout, demo.stderr]) {
    stream.on('data', (piece: Buffer) => (said += piece.toString()));
  }
  const exited = once(demo, 'exit');
  await waitFor(() => said.includes('✔'), { timeoutMs: 25_000, describe: () => said });
  demo.kill('SIGINT');
  expect(await exited).toEqual([130, null]);
}, 60_000);
