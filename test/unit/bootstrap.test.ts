import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';

const SCRIPTS = join(import.meta.dirname, '../../scripts');
const TOOLS = ['sh', 'mkdir', 'touch', 'sleep', 'cp'];

/** A fake npm: records its calls and creates the files that npm would. */
const NPM = `#!/bin/sh
echo "npm $*" >> calls
case "$1" in ci) mkdir -p node_modules && touch node_modules/.package-lock.json ;; esac
sleep 0.1
mkdir -p dist/ui && touch dist/ui/index.html dist/main.js
`;

const SERVER = '#!/bin/sh\necho "Redis server v=7.2.4 sha=00000000:0"\n';

let root: string;
let bin: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  bin = join(root, 'bin');
  await cp(SCRIPTS, join(root, 'scripts'), { recursive: true });
  for (const dir of ['bin', 'src/core']) await mkdir(join(root, dir), { recursive: true });
  const files = ['src/main.ts', 'src/core/run.ts', 'tsconfig.json', 'vite.config.ts'];
  for (const file of [...files, 'package-lock.json']) await writeFile(join(root, file), '{}');
  for (const tool of TOOLS) await symlink(findTool(tool), join(bin, tool));
  await command('npm', NPM);
});

afterEach(() => rm(root, { recursive: true, force: true }));

function findTool(name: string): string {
  return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim();
}

async function command(name: string, text: string): Promise<void> {
  await writeFile(join(bin, name), text, { mode: 0o755 });
}

async function bootstrap(env: Record<string, string> = {}, args: string[] = []) {
  const child = spawn(process.execPath, [join(root, 'scripts/bootstrap.mjs'), ...args], {
    env: { PATH: bin, XDG_CACHE_HOME: join(root, 'cache'), ...env },
  });
  let said = '';
  let printed = '';
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  expect(printed).toBe('');
  return { code, said };
}

async function calls(): Promise<string[]> {
  const text = await readFile(join(root, 'calls'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '');
}

/** Sets a file's modification time to some seconds from now. */
async function touch(path: string, seconds: number): Promise<void> {
  const time = new Date(Date.now() + seconds * 1_000);
  await utimes(join(root, path), time, time);
}

const CI = 'npm ci --include=dev --no-audit --no-fund';
const BUILD = 'npm run build';

describe('bootstrap', () => {
  test('bootstrap in a fresh clone installs and builds, says so, and next time does nothing', async () => {
    await command('redis-server', SERVER);
    const first = await bootstrap();
    expect(first).toMatchObject({ code: 0 });
    expect(first.said).toContain('npm ci');
    expect(await calls()).toEqual([CI]);

    expect(await bootstrap()).toEqual({ code: 0, said: '' });
    expect(await calls()).toEqual([CI]);
  });

  test("bootstrap installs again when the lock file's content changed, but not for its time alone", async () => {
    await command('redis-server', SERVER);
    await bootstrap();
    await touch('package-lock.json', 5);
    expect(await bootstrap()).toEqual({ code: 0, said: '' });

    await writeFile(join(root, 'package-lock.json'), '{"changed": true}');
    await touch('package-lock.json', 5);
    await bootstrap();
    expect(await calls()).toEqual([CI, CI]);
  });

  test.each(['src/core/run.ts', 'vite.config.ts'])(
    'bootstrap builds when %s is newer',
    async (file) => {
      await command('redis-server', SERVER);
      await bootstrap();
      await touch(file, -60);
      await bootstrap();
      expect(await calls()).toEqual([CI]);
      await touch(file, 1);
      await bootstrap();
      expect(await calls()).toEqual([CI, BUILD]);
    },
  );

  test('two bootstraps at once install once', async () => {
    await command('redis-server', SERVER);
    const both = await Promise.all([bootstrap(), bootstrap()]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(await calls()).toEqual([CI]);
  });

  test('a lock that another user left in /tmp holds up nothing', async () => {
    await command('redis-server', SERVER);
    const hash = createHash('sha256').update(root).digest('hex').slice(0, 16);
    const uid = process.getuid?.() ?? -1;
    // A live process holds a lock under the name that could once be guessed.
    const guessed = join(root, `runwatch-bootstrap-${uid}-${hash}.lock`);
    await writeFile(guessed, String(process.pid));
    expect(await bootstrap({ TMPDIR: root })).toMatchObject({ code: 0 });
    expect((await stat(join(root, 'cache/runwatch'))).mode & 0o777).toBe(0o700);
  });

  test('bootstrap reports in one sentence where it cannot take its lock', async () => {
    const { code, said } = await bootstrap({ XDG_CACHE_HOME: '/dev/null' });
    expect(code).toBe(1);
    expect(said.trim().split('\n')).toHaveLength(1);
    expect(said).toContain('set XDG_CACHE_HOME');
  });

  test('bootstrap fails when npm fails', async () => {
    await command('npm', '#!/bin/sh\necho "network is down" >&2\nexit 7\n');
    const { code, said } = await bootstrap();
    expect(code).toBe(1);
    expect(said).toContain('network is down');
    expect(said).toContain('npm ci failed');
  });

  test('bootstrap without a server and a package manager names the package in one sentence', async () => {
    await bootstrap({ REDIS_URL: 'redis://elsewhere' });
    const { code, said } = await bootstrap();
    expect(code).toBe(1);
    expect(said.trim().split('\n')).toHaveLength(1);
    expect(said).toMatch(/install the package redis-server, or set REDIS_URL/);
  });

  test('bootstrap of the tests without Chromium and a package manager names the package', async () => {
    await command('redis-server', SERVER);
    const { code, said } = await bootstrap({}, ['--tests']);
    expect(code).toBe(1);
    expect(said).toMatch(
      /install the package chromium-headless-shell or chromium, or set CHROMIUM_PATH/,
    );
  });

  test('bootstrap with REDIS_URL needs no server', async () => {
    expect(await bootstrap({ REDIS_URL: 'redis://elsewhere' })).toMatchObject({ code: 0 });
    expect(await bootstrap({ REDIS_URL_FILE: '/run/secrets/redis' })).toMatchObject({ code: 0 });
  });

  test('bootstrap accepts a valkey-server', async () => {
    await command('valkey-server', SERVER.replace('Redis', 'Valkey'));
    expect(await bootstrap()).toMatchObject({ code: 0 });
  });

  test('bootstrap distinguishes a server that is too old from a missing one', async () => {
    await command('redis-server', SERVER.replace('7.2.4', '6.0.16'));
    const { code, said } = await bootstrap();
    expect(code).toBe(1);
    expect(said).toContain('6.2 or later');
    expect(said).toContain('6.0.16');
  });

  describe('as root, with a package manager', () => {
    // Other users call the password-less sudo first, which this test provides as well.
    beforeEach(() => command('sudo', '#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n'));

    test('bootstrap as root says that it installs the server, then installs it', async () => {
      await command('server', SERVER);
      await command(
        'apk',
        `#!/bin/sh\necho "apk $*" >> ${root}/calls\ncp ${bin}/server ${bin}/redis-server\n`,
      );
      const { code, said } = await bootstrap();
      expect(code).toBe(0);
      expect(said).toContain('installing the package redis (apk)');
      expect(await calls()).toEqual([CI, 'apk add redis']);
    });

    test('bootstrap installs Chromium for the tests, says so, and not for the demo', async () => {
      await command('redis-server', SERVER);
      await command('browser', '#!/bin/sh\n');
      await command(
        'apk',
        `#!/bin/sh\necho "apk $*" >> ${root}/calls\ncp ${bin}/browser ${bin}/chromium\n`,
      );
      expect(await bootstrap()).toMatchObject({ code: 0 });
      expect(await calls()).toEqual([CI]);
      const { code, said } = await bootstrap({}, ['--tests']);
      expect(code).toBe(0);
      expect(said).toContain('installing Chromium (apk)');
      expect(await calls()).toEqual([CI, 'apk add chromium']);
      expect(await bootstrap({}, ['--tests'])).toEqual({ code: 0, said: '' });
    });

    test("bootstrap as root tries the package's other name, then gives up with one sentence", async () => {
      await command('dnf', `#!/bin/sh\necho "dnf $*" >> ${root}/calls\nexit 1\n`);
      const { code, said } = await bootstrap();
      expect(code).toBe(1);
      expect(await calls()).toEqual([CI, 'dnf install -y valkey', 'dnf install -y redis']);
      expect(said).toMatch(/dnf did not install it: install the package valkey, or set REDIS_URL/);
    });
  });
});
