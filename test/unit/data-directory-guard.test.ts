import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { DataDirectoryGuard } from '../../src/daemon/data-directory-guard.ts';
import { configSchema } from '../../src/config/schema.ts';
import { NOON } from '../support/builders.ts';
import { testProcess } from '../support/daemon.ts';
import { waitFor } from '../support/wait-for.ts';

let folder: string;
let guard: DataDirectoryGuard | null = null;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
});

afterEach(async () => {
  await guard?.stop();
  await rm(folder, { recursive: true, force: true });
});

function open(path: string, server: ConstructorParameters<typeof DataDirectoryGuard>[2]) {
  const key = join(path, 'encryption-key');
  const process = testProcess({
    config: configSchema.parse({ data_dir: path }),
    now: () => NOON,
    log: pino({ level: 'silent' }),
  });
  guard = new DataDirectoryGuard(process, { keepAgain: async () => undefined }, server, [
    {
      path: key,
      generate: () => 'the-key',
      isValid: (text) => text === 'the-key',
      expected: 'the key',
      loss: 'it is lost',
      variable: 'KEY',
    },
  ]);
  return { key, guard };
}

test('a key that is gone is put back, and readiness names it for an hour', async () => {
  const { key, guard: opened } = open(join(folder, 'data'), null);
  opened.start();
  await waitFor(() => existsSync(key));
  expect(await readFile(key, 'utf8')).toBe('the-key\n');
  await waitFor(() => opened.check()?.detail.startsWith('made again from memory') === true);
  expect(opened.check()).toMatchObject({ name: 'data directory', status: 'degraded' });
});

test('without a Redis of its own, a data directory that stays away degrades and refuses nothing', async () => {
  await writeFile(join(folder, 'data'), 'in the way');
  const { guard: opened } = open(join(folder, 'data'), null);
  opened.start();
  await waitFor(() => opened.check()?.detail.includes('cannot be made again') === true);
  expect(opened.check()).toMatchObject({ status: 'degraded' });
  expect(() => opened.refuseIfLost()).not.toThrow();
  await rm(join(folder, 'data'));
});

test('registrations are refused while what the own Redis holds cannot be written', async () => {
  let isFull = true;
  const server = {
    loss: async () => (isFull ? 'the directory is gone' : null),
    rescue: async () => Promise.reject(new Error('no room')),
  };
  const { guard: opened } = open(join(folder, 'data'), server);
  opened.start();
  await waitFor(() => opened.check()?.detail.includes('no room') === true);
  expect(opened.check()).toMatchObject({ status: 'failed' });
  expect(() => opened.refuseIfLost()).toThrow(/cannot be made again \(no room\)/);
  isFull = false;
  await waitFor(() => opened.check()?.status === 'degraded');
  expect(() => opened.refuseIfLost()).not.toThrow();
});
