import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Redis } from 'ioredis';
import { startReceiver } from '../../src/simulator/receiver.ts';
import { startSimulator } from '../../src/simulator/server.ts';
import {
  cleanEnv,
  type DaemonProcess,
  startDaemonProcess,
  stopAll,
} from '../support/daemon-process.ts';
import { LASTING, readAnswers } from '../support/recorded-answers.ts';
import { loadRecording, recordedForms } from '../support/recorded-store.ts';
import { testRedis } from '../support/redis.ts';
import { recordedConfig } from '../support/standing-daemon.ts';
import { waitFor } from '../support/wait-for.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const run = promisify(execFile);

let folder: string;
/** Where the package is installed. */
let home: string;
let packed: string[];

/** Installs the packed tarball as npm would, with copies of the packages that it needs: no network is used. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: ROOT, env: cleanEnv() });
  const [tarball] = JSON.parse(stdout) as { filename: string; files: { path: string }[] }[];
  packed = tarball?.files.map(({ path }) => path) ?? [];
  home = join(folder, 'node_modules/runwatchd');
  await mkdir(join(folder, 'node_modules/.bin'), { recursive: true });
  await mkdir(home);
  const file = join(folder, tarball?.filename ?? '');
  await run('tar', ['-xzf', file, '-C', home, '--strip-components=1']);
  await installPackages();
  await symlink('../runwatchd/dist/main.js', join(folder, 'node_modules/.bin/runwatch'));
});

interface LockedPackage {
  dev?: boolean;
  optional?: boolean;
}

/** Copies, so that the build finds no package for development where they really are. */
async function installPackages(): Promise<void> {
  const lock = JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, LockedPackage>;
  };
  const isOutermost = (path: string) => path.lastIndexOf('node_modules/') === 0;
  const needed = Object.entries(lock.packages).filter(
    ([path, { dev = false }]) => isOutermost(path) && !dev,
  );
  for (const [path, { optional = false }] of needed) {
    // Optional ones are for other systems, too.
    if (optional && !existsSync(join(ROOT, path))) continue;
    await cp(join(ROOT, path), join(folder, path), { recursive: true });
  }
}

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
    await cp(join(home, 'dist/client'), join(alone, 'client'), { recursive: true });
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
  const npx = ['exec', '--offline', '--', 'runwatch', '--version'];
  const { stdout } = await run('npm', npx, { cwd: folder, env: cleanEnv() });
  expect(stdout.trim()).toBe(await versionOfPackage());

  const demo = start(['demo'], { TMPDIR: folder });
  await waitFor(() => demo.said().includes('✔'), { describe: demo.said });
  demo.child.kill('SIGINT');
  expect(await demo.exited).toEqual([130, null]);
});

test('the packed daemon answers about a store as the one that wrote it', async () => {
  const noxus = await startSimulator();
  const receiver = await startReceiver({ secrets: [] });
  const daemons: DaemonProcess[] = [];
  const serve = async (main?: string, dataDir?: string) => {
    const daemon = await startDaemonProcess({
      ...(main !== undefined && { main }),
      ...(dataDir !== undefined && { dataDir }),
      config: {
        sources: { default: { base_url: noxus.url, api_key: noxus.apiKey } },
        polling: { min_interval: '50ms', max_interval: '100ms' },
        endpoints: { hooks: { type: 'webhook', url: receiver.url, default: true } },
        rules: [{ name: 'failed', events: ['run.failed'], group_wait: '0s', notify: ['hooks'] }],
      },
    });
    daemons.push(daemon);
    return daemon;
  };
  try {
    const writer = await serve();
    const runs = (['completed', 'failed'] as const).map((status) =>
      noxus.add({ steps: [{ after_ms: 0, status }] }),
    );
    const watches = runs.map(({ id }) => ({ run_id: id, batch: 'nightly' }));
    await writer.api('/v1/watches/batch', { watches });
    const { body: silence } = await writer.api('/v1/silences', {
      matchers: { rule: ['other'] },
      until: '2h',
      by: 'ana',
      comment: 'maintenance',
    });
    expect(silence).toMatchObject({ id: expect.any(String) });
    await allDelivered(writer, ['run.completed', 'run.failed', 'batch.completed', 'alert.firing']);
    const asked = runs.flatMap(({ id }) => [`/v1/watches/${id}`, `/v1/watches/${id}/timeline`]);
    const before = await answersOf(writer, [...LISTINGS, ...asked]);
    await writer.stop();
    const sent = receiver.received.length;

    const reader = await serve(join(home, 'dist/main.js'), writer.dataDir);
    expect(await answersOf(reader, [...LISTINGS, ...asked])).toEqual(before);
    const { body: document } = await reader.api<{ info: { version: string } }>('/openapi.json');
    const { body: processes } = await reader.api<{ data: { version: string }[] }>('/v1/processes');
    const versions = [document.info.version, ...processes.data.map(({ version }) => version)];
    expect([...new Set(versions)]).toEqual([await versionOfPackage()]);
    // What was delivered stays so: the only webhook that comes is of a run that comes now.
    const { id } = noxus.add({ steps: [{ after_ms: 0, status: 'completed' }] });
    await reader.api('/v1/watches', { run_id: id });
    await allDelivered(reader, ['run.completed']);
    await waitFor(() => receiver.received.length > sent);
    expect(receiver.received.slice(sent).map(({ body }) => body)).toEqual([
      expect.stringContaining(id),
    ]);
  } finally {
    await stopAll(daemons);
    await receiver.close();
    await noxus.close();
  }
});

test.each(recordedForms())(
  'the packed daemon answers about the recorded store of form %s as is recorded',
  async (form) => {
    const { url, prefix } = testRedis();
    const redis = new Redis(url);
    const { encryptionKey } = await loadRecording(redis, prefix, form);
    redis.disconnect();
    const daemon = await startDaemonProcess({
      main: join(home, 'dist/main.js'),
      args: ['--no-deliver'],
      config: {
        ...recordedConfig(),
        redis: { url, prefix },
        encryption: { keys: [encryptionKey] },
      },
    });
    try {
      const recorded = await readAnswers(form);
      for (const path of LASTING) {
        expect({ path, ...(await daemon.api(path)) }).toEqual(recorded.get(path));
      }
    } finally {
      await stopAll([daemon]);
    }
  },
);

async function versionOfPackage(): Promise<string> {
  const manifest = await readFile(join(ROOT, 'package.json'), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Listings of what is kept. */
const LISTINGS = [
  '/v1/watches',
  '/v1/batches',
  '/v1/events',
  '/v1/deliveries',
  '/v1/alerts',
  '/v1/silences',
  '/v1/audit',
];

async function answersOf(daemon: DaemonProcess, paths: readonly string[]) {
  const answers: [string, { status: number; body: unknown }][] = [];
  for (const path of paths) answers.push([path, await daemon.api(path)]);
  return answers;
}

interface Deliveries {
  data: { event_type: string; state: string }[];
}

/** Waits until each type of event has a delivery, and all deliveries have been made. */
async function allDelivered(daemon: DaemonProcess, types: readonly string[]): Promise<void> {
  await waitFor(async () => {
    const { data } = (await daemon.api<Deliveries>('/v1/deliveries')).body;
    expect(data.map((one) => one.event_type)).toEqual(expect.arrayContaining([...types]));
    expect(data.filter(({ state }) => state !== 'delivered')).toEqual([]);
    return true;
  });
}

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
