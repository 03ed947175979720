import { execFile } from 'node:child_process';
import { access, chmod, chown, constants, cp, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startSimulator, type Simulator } from '../../src/simulator/server.ts';
import { runBuiltCli } from '../support/built-cli.ts';
import { cleanEnv, startDaemonProcess, stopAll, tempDir } from '../support/daemon-process.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { isRoot, OTHER_USER } from '../support/other-user.ts';

const run = promisify(execFile);

/** The user of runwatch, and another user of the same machine. */
const VICTIM = OTHER_USER;
const ATTACKER = 65_533;

const ROOT = join(import.meta.dirname, '../..');
const API_KEY = 'canary-key-of-the-victim';

/** Tests that need two users beside root; without root they pass, and a line says so. */
const asRoot = isRoot('only root can act as two users of the machine');
let noxus: Simulator;
/** As /tmp is: every user may write to it. */
let shared: string;
/** Of the victim alone. */
let home: string;

beforeAll(async () => {
  if (!asRoot) return;
  noxus = await startSimulator({ apiKey: API_KEY });
  [shared, home] = await Promise.all([tempDir(), tempDir()]);
  await chmod(shared, 0o1777);
  await chown(home, VICTIM, VICTIM);
});

afterAll(async () => {
  if (!asRoot) return;
  await noxus.close();
  for (const folder of [shared, home]) await rm(folder, { recursive: true });
});

const asVictim = { uid: VICTIM, gid: VICTIM };

function cli(args: string[], env: Record<string, string> = {}) {
  const own = { HOME: home, NOXUS_API_KEY: API_KEY, ...env };
  return runBuiltCli(args, own, { ...asVictim, cwd: shared });
}

async function plant(path: string, text: string, { owner = ATTACKER, mode = 0o644 } = {}) {
  await writeFile(path, text);
  await chmod(path, mode);
  await chown(path, owner, owner);
}

describe('files planted by another user of the machine', () => {
  test('a configuration of another user in a shared folder gets no API key', async () => {
    if (!asRoot) return;
    const path = join(shared, 'runwatch.yaml');
    await plant(path, "sources: { default: { base_url: 'https://attacker.example' } }");
    for (const verb of ['serve', 'config']) {
      const { exitCode, stdout, stderr } = await cli([verb]);
      expect([exitCode, stdout, stderr]).toEqual([
        2,
        '',
        expect.stringContaining(`${path} belongs to user ${ATTACKER}, neither`),
      ]);
    }
    await chown(path, VICTIM, VICTIM);
    const { exitCode, stdout } = await cli(['config']);
    await rm(path);
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining('https://attacker.example')]);
  });

  test.each(['encryption-key', 'signing-secret'])(
    'a key file %s of another user is not used',
    async (name) => {
      if (!asRoot) return;
      const dataDir = join(home, name);
      await mkdir(dataDir, { mode: 0o700 });
      await chown(dataDir, VICTIM, VICTIM);
      await plant(join(dataDir, name), Buffer.alloc(32, 7).toString('base64'));
      const { exitCode, stderr } = await cli(['serve'], { RUNWATCH_DATA_DIR: dataDir });
      expect([exitCode, stderr]).toEqual([
        2,
        expect.stringContaining(`${join(dataDir, name)} belongs to user ${ATTACKER}, neither`),
      ]);
    },
  );

  test.each([
    ['of another user', ATTACKER, 0o755, `belongs to user ${ATTACKER}, neither`],
    ['that every user may write to', VICTIM, 0o777, 'every user of this machine may write to'],
  ])('a data directory %s is not used', async (_which, owner, mode, sentence) => {
    if (!asRoot) return;
    const dataDir = join(shared, `data-${owner}`);
    await mkdir(dataDir);
    await chmod(dataDir, mode);
    await chown(dataDir, owner, owner);
    const { exitCode, stderr } = await cli(['serve'], { RUNWATCH_DATA_DIR: dataDir });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(sentence)]);
  });

  test('a user without a home and an entry in /etc/passwd gets the advice to name a data directory', async () => {
    if (!asRoot) return;
    const nowhere = { HOME: '', NOXUS_API_KEY: API_KEY };
    const unknown = { uid: 1_000_650_000, gid: 0, cwd: shared };
    const { exitCode, stderr } = await runBuiltCli(['serve'], nowhere, unknown);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(
        /^error: the data directory \/\S+ cannot be written \(EACCES.+RUNWATCH_DATA_DIR/,
      ),
    ]);
  });

  test('a lock of another user in /tmp does not delay the bootstrap', async () => {
    if (!asRoot) return;
    const checkout = join(shared, 'checkout');
    await cp(join(ROOT, 'scripts'), join(checkout, 'scripts'), { recursive: true });
    await plant(join(shared, 'runwatch-bootstrap.lock'), String(process.pid));
    const env = cleanEnv({ HOME: home, TMPDIR: shared, PATH: '/nowhere' });
    const args = [join(checkout, 'scripts/bootstrap.mjs')];
    // There is no npm here, so it ends after it has got the lock.
    await expect(run(process.execPath, args, { env, ...asVictim })).rejects.toMatchObject({
      stderr: expect.stringContaining('npm ci failed'),
    });
    const cache = await stat(join(home, '.cache/runwatch'));
    expect([cache.uid, cache.mode & 0o777]).toEqual([VICTIM, 0o700]);
  });
});

describe('data directory that every user may enter', () => {
  let daemon: DaemonProcess;

  beforeAll(async () => {
    if (!asRoot) return;
    const dataDir = join(home, 'open');
    await mkdir(dataDir);
    await chmod(dataDir, 0o755);
    const source = { base_url: noxus.url, api_key: API_KEY };
    await chmod(home, 0o755);
    daemon = await startDaemonProcess({
      dataDir,
      user: VICTIM,
      env: { HOME: home },
      config: { sources: { default: source } },
    });
  });

  afterAll(async () => {
    if (asRoot) await stopAll([daemon]);
  });

  test('a daemon makes its files unreadable for other users, those of its Redis included', async () => {
    if (!asRoot) return;
    const find = async (...wanted: string[]) =>
      (await run('find', [daemon.dataDir, '-type', 'f', ...wanted])).stdout
        .split('\n')
        .slice(0, -1);
    const files = await find();
    expect(files.length).toBeGreaterThan(4);
    expect(await find('-perm', '/077')).toEqual([]);
    expect(await find('-not', '-uid', String(VICTIM))).toEqual([]);
    const asAttacker = { uid: ATTACKER, gid: ATTACKER };
    for (const file of [...files, join(daemon.dataDir, 'redis.sock')]) {
      // A draft of a file may have got its name since it was found.
      const refused = /Permission denied|No such file/;
      await expect(run('cat', [file], asAttacker)).rejects.toThrow(refused);
    }
    await expect(access(join(daemon.dataDir, 'redis.sock'), constants.F_OK)).resolves.toBe(
      undefined,
    );
  });
});
