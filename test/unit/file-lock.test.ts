import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { withFileLock } from '../../src/redis/file-lock.ts';

let dir: string;
let path: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
  path = join(dir, 'the.lock');
});

afterEach(() => rm(dir, { recursive: true, force: true }));

test('a file lock admits one holder at a time, and leaves nothing behind', async () => {
  let inside = 0;
  const most: number[] = [];
  const work = async () => {
    inside += 1;
    most.push(inside);
    for (let turns = 0; turns < 10; turns += 1) await turn();
    inside -= 1;
  };
  await Promise.all(Array.from({ length: 8 }, () => withFileLock(path, 10_000, work)));
  expect(most).toEqual(Array.from({ length: 8 }, () => 1));
  expect(await readdir(dir)).toEqual([]);
});

test('a file lock is released when the work fails', async () => {
  const failing = withFileLock(path, 1_000, () => Promise.reject(new Error('no')));
  await expect(failing).rejects.toThrow('no');
  expect(await withFileLock(path, 0, async () => 'yes')).toBe('yes');
});

test('waiting for a file lock ends, and names the holder', async () => {
  await writeFile(path, `${process.ppid} mark`);
  const waiting = withFileLock(path, 50, async () => 'never');
  await expect(waiting).rejects.toMatchObject({
    code: 'lock_timeout',
    message: expect.stringContaining(`process ${process.ppid}`),
  });
});

test('an untouched file lock is taken over, although its process id is in use', async () => {
  await writeFile(path, `${process.ppid} mark`);
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(path, longAgo, longAgo);
  const takers = Array.from({ length: 4 }, () => withFileLock(path, 5_000, async () => 'yes'));
  expect(await Promise.all(takers)).toEqual(['yes', 'yes', 'yes', 'yes']);
  expect(await readdir(dir)).toEqual([]);
});

test('a file lock that its holder touches is kept', async () => {
  await withFileLock(path, 1_000, async ({ touch }) => {
    const longAgo = new Date(Date.now() - 60_000);
    await utimes(path, longAgo, longAgo);
    await touch();
    const other = withFileLock(path, 50, async () => 'never');
    await expect(other).rejects.toMatchObject({ code: 'lock_timeout' });
  });
});
