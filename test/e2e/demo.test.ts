import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { SCENARIO } from '../../src/demo/scenario.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { MAIN } from '../support/built-main.ts';
import { cleanEnv } from '../support/daemon-process.ts';
import { waitFor } from '../support/wait-for.ts';

/** A line of a shell as users paste it. */
function runLine(line: string): Promise<{ exitCode: number; stdout: string }> {
  const command = line.replaceAll('npx --no-install runwatch', `'${process.execPath}' '${MAIN}'`);
  return new Promise((resolve) => {
    const child = execFile('sh', ['-c', command], { env: cleanEnv() }, (_error, stdout) => {
      resolve({ exitCode: child.exitCode ?? -1, stdout });
    });
  });
}

/** The demo as its own process, with its own temporary directory. */
interface DemoProcess {
  stdout(): string;
  stderr(): string;
  exitCode: Promise<number | null>;
  /** Files in the temporary directory. */
  leftovers(): Promise<string[]>;
  /** Its Redis, once it runs; the process id is 0 where the demo ended without one. */
  redis: Promise<{ pid: number }>;
  signal(signal: NodeJS.Signals): void;
  dispose(): Promise<void>;
}

async function startDemo(
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<DemoProcess> {
  const temp = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  const child = spawn(process.execPath, [MAIN, 'demo', ...args], {
    env: cleanEnv({ TMPDIR: temp, ...env }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
  const redis = waitFor(() => (hasEnded() ? { pid: 0 } : redisIn(temp)), {
    describe: () => `its Redis: ${stdout}${stderr}`,
  });
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    exitCode,
    redis,
    leftovers: () => readdir(temp),
    signal: (signal) => child.kill(signal),
    async dispose() {
      child.kill('SIGTERM');
      await exitCode;
      await rm(temp, { recursive: true, force: true });
    },
  };
}

async function redisIn(temp: string): Promise<{ pid: number } | null> {
  const [name] = await readdir(temp);
  if (name === undefined) return null;
  const pid = Number.parseInt(await readFile(join(temp, name, 'data', 'redis.pid'), 'utf8'), 10);
  return pid > 0 ? { pid } : null;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function expectNothingLeft(demo: DemoProcess): Promise<void> {
  expect(await demo.leftovers()).toEqual([]);
  const { pid } = await demo.redis;
  expect(pid).toBeGreaterThan(0);
  await waitFor(() => !isAlive(pid), {
    describe: 'the end of its Redis',
  });
}

/** The verified webhooks, by their lines. */
function eventsIn(output: string): string[] {
  const lines = output.matchAll(/✔ (\S+) +(.+?) {2,}(?:\S+ m?s later|\S+ s in one state)/g);
  return [...lines].map(([, type, name]) => `${name}: ${type}`);
}

describe('demo off a terminal', () => {
  let plain: DemoProcess;
  let kept: DemoProcess;

  beforeAll(async () => {
    [plain, kept] = await Promise.all([startDemo(), startDemo(['--keep'])]);
  });

  afterAll(async () => {
    await Promise.all([plain.dispose(), kept.dispose()]);
  });

  test('the demo reports every outcome once and in order, exits 0, and leaves nothing behind', async () => {
    expect({ code: await plain.exitCode, stderr: plain.stderr() }).toEqual({ code: 0, stderr: '' });
    const expected = SCENARIO.flatMap(({ name, expected: types }) =>
      types.map((type) => `${name}: ${type}`),
    );
    expect(eventsIn(plain.stdout()).sort()).toEqual(expected.sort());
    await expectNothingLeft(plain);
  });

  test('the demo writes lines of up to 80 columns without control characters', async () => {
    await plain.exitCode;
    // oxlint-disable-next-line no-control-regex
    expect(plain.stdout()).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f]/);
    const widths = plain
      .stdout()
      .split('\n')
      .map(({ length }) => length);
    expect(Math.max(...widths)).toBeLessThanOrEqual(80);
  });

  test('the demo shows the repeated delivery, and the pause of the source', async () => {
    await plain.exitCode;
    expect(plain.stdout()).toMatch(/✘ run\.completed +meets a deaf receiver +answered 503/);
    expect(plain.stdout()).toMatch(/meets a deaf receiver +\S+ m?s later, try 2/);
    expect(plain.stdout()).toContain('Noxus answers 429');
  });

  test('the demo sums up deliveries, delay and requests, and the deliveries add up', async () => {
    await plain.exitCode;
    const stdout = plain.stdout();
    expect(stdout).toMatch(/Delivered +23 webhooks, each verified by its signature/);
    expect(stdout).toContain('23 events × 1 receiver = 23 delivered + 0 pending + 0 dead');
    expect(stdout).toMatch(/Requests +\d+ to Noxus, \d+\.\d per run, never two at once/);
    const figures = String.raw`\d+ +\S+ m?s +\S+ m?s +\d+\.\d`;
    expect(stdout).toMatch(new RegExp(`a Noxus that streams events +${figures}`));
    expect(stdout).toMatch(new RegExp(`a Noxus that can only be polled +${figures}`));
    expect(stdout).toMatch(/polled every 5 s \(computed\) +2\.5 s +5\.0 s +\d+\.\d/);
  });

  test('the demo says what to try next, by commands that exist', async () => {
    await plain.exitCode;
    const commands = [...plain.stdout().matchAll(/^ {2}npx --no-install runwatch (.+)$/gm)];
    const verbs = commands.map(([, words = '']) => words.split(' '));
    expect(verbs).toEqual([['demo', '--keep'], ['simulate'], ['doctor']]);
    for (const words of verbs) {
      expect(await runBuiltCli([...words, '--help'])).toMatchObject({ exitCode: 0 });
    }
  });

  test('the demo with --keep goes on, shows its dashboard and commands that work, and cleans up on Ctrl-C', async () => {
    await waitFor(() => kept.stdout().includes('Everything still runs.'), {
      describe: () => `the demo to be kept: ${kept.stdout()}${kept.stderr()}`,
    });
    const addresses = [...kept.stdout().matchAll(/^(?:Dashboard|API) +(\S+)/gm)];
    expect(addresses).toHaveLength(3);
    for (const [, url = ''] of addresses) {
      const page = await fetch(url);
      expect([page.status, page.headers.get('content-type')]).toEqual([
        200,
        expect.stringContaining('text/html'),
      ]);
    }

    const commands = [...kept.stdout().matchAll(/^ {2}((?:RUNWATCH_URL|npx|curl) ?.+)$/gm)];
    expect(commands).toHaveLength(3);
    const outputs = await Promise.all(commands.map(([, line = '']) => runLine(line)));
    expect(outputs.map(({ exitCode }) => exitCode)).toEqual([0, 0, 1]);
    expect(outputs[0]?.stdout).toContain('awaiting');
    expect(outputs[2]?.stdout).toContain('failed');
    const shown = () => eventsIn(kept.stdout());
    await waitFor(() => shown().includes('waits for a human: run.completed'), {
      describe: kept.stdout,
    });

    kept.signal('SIGINT');
    expect(await kept.exitCode).toBe(130);
    await expectNothingLeft(kept);
  });
});

describe('interrupted demo', () => {
  test.each([
    ['once', 1],
    ['twice, without patience', 2],
  ])('the demo interrupted %s exits 130 and leaves nothing behind', async (_how, times) => {
    const demo = await startDemo();
    await waitFor(() => demo.stdout().includes('✔'), {
      describe: demo.stdout,
    });
    await demo.redis;
    demo.signal('SIGINT');
    if (times === 2) demo.signal('SIGINT');
    expect(await demo.exitCode).toBe(130);
    await expectNothingLeft(demo);
    await demo.dispose();
  });

  test('the demo in a terminal that closes leaves nothing behind', async () => {
    const demo = await startDemo();
    await demo.redis;
    demo.signal('SIGHUP');
    expect(await demo.exitCode).toBe(143);
    await expectNothingLeft(demo);
    await demo.dispose();
  });
});

describe('demo on a machine without Redis', () => {
  test('the demo without Redis names the packages to install, and leaves nothing behind', async () => {
    const demo = await startDemo([], { PATH: '/nowhere' });
    expect(await demo.exitCode).toBe(1);
    expect(demo.stderr()).toMatch(/^error: the demo runs a Redis of its own.*redis-server \(apt\)/);
    expect(await demo.leftovers()).toEqual([]);
    await demo.dispose();
  });
});
