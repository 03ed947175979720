import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
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
  const home = join(folder, 'node_modules/runwatchd');
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true });
  await mkdir(home);
  const file = join(folder, tarball?.filename ?? '');
  await run('tar', ['-xzf', file, '-C', home, '--strip-components=1']);
  await symlink(join(ROOT, 'node_modules'), join(home, 'node_modules'));
  await symlink('../runwatchd/dist/main.js', join(folder, 'node_modules/.bin/runwatch'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('the package holds what runs, and neither tests nor sources nor maps', () => {
  expect(packed).toEqual(
    expect.arrayContaining(['dist/main.js', 'config/redis.conf', 'README.md', 'LICENSE']),
  );
  expect(packed.filter((path) => /^(src|test|bench|scripts)\/|\.map$/.test(path))).toEqual([]);
});

const PROGRAM = `
import { createClient, paginate, type WatchView } from 'runwatchd/client';
import { isRunEvent, verifyWebhook, type WebhookEvent } from 'runwatchd/webhook';

const client = createClient({ url: 'http://127.0.0.1:8787', token: 'x' });
export async function polls(): Promise<number> {
  let sum = 0;
  for await (const watch of paginate(client.listWatches, { state: 'active' })) {
    const { polls, run }: WatchView = watch;
    sum += run?.status === 'running' ? polls : 0;
  }
  return sum;
}
export function statusOf(body: string, headers: Headers): string | undefined {
  const event: WebhookEvent = verifyWebhook(body, headers, 'whsec_x');
  // @ts-expect-error: an event may be of runwatch itself.
  event.data.run_id.length;
  return isRunEvent(event) ? event.data.run?.status : undefined;
}
`;

test('the types of the packed client and webhook need no types of Node or of other packages', async () => {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'dom', 'esnext.disposable'],
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: [],
  };
  const config = { compilerOptions, files: ['program.mts'] };
  await writeFile(join(folder, 'program.mts'), PROGRAM);
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(ROOT, 'node_modules/.bin/tsc');
  const compiled = await run(tsc, ['-p', folder]).catch((error: { stdout: string }) => error);
  expect(compiled.stdout).toBe('');
});

test('the packed client and webhook load where no other package is', async () => {
  const alone = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  try {
    await writeFile(join(alone, 'package.json'), JSON.stringify({ type: 'module' }));
    const own = join(folder, 'node_modules/runwatchd/dist/client');
    await cp(own, join(alone, 'client'), { recursive: true });
    const program = `
      import { createClient } from './client/client.js';
      import { createVerifier } from './client/webhook.js';
      const client = createClient({ url: 'http://127.0.0.1:1' });
      const refused = await client.listSources().catch(({ code }) => code);
      console.log(refused, typeof createVerifier, typeof client.wait);`;
    await writeFile(join(alone, 'program.mjs'), program);
    const { stdout } = await run(process.execPath, ['program.mjs'], {
      cwd: alone,
      env: cleanEnv(),
    });
    expect(stdout).toBe('daemon_unreachable function function\n');
  } finally {
    await rm(alone, { recursive: true, force: true });
  }
});

test('the packed command line runs by npx in an empty folder, and its demo comes to life', async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const npx = ['exec', '--offline', '--', 'runwatch', '--version'];
  const { stdout } = await run('npm', npx, { cwd: folder, env: cleanEnv() });
  expect(stdout.trim()).toBe(version);

  const demo = start(['demo'], { TMPDIR: folder });
  await waitFor(() => demo.said().includes('✔'), { describe: demo.said });
  demo.child.kill('SIGINT');
  expect(await demo.exited).toEqual([130, null]);
});

test('the packed command line names itself as users type it outside a checkout', async () => {
  const simulate = start(['simulate', '--port', '0']);
  await waitFor(() => simulate.said().includes('Make more'), { describe: simulate.said });
  expect(simulate.said()).toMatch(/^ {2}runwatch watch \S+ --wait$/m);
  expect(simulate.said()).not.toContain('npx');
  simulate.child.kill('SIGINT');
  await simulate.exited;
});

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(join(folder, 'node_modules/.bin/runwatch'), args, {
    cwd: folder,
    env: cleanEnv(env),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (piece: Buffer) => (said += piece.toString()));
  }
  return { child, said: () => said, exited: once(child, 'exit') };
}
