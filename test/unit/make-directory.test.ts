import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { needDataDirectory, unwritable } from '../../src/daemon/data-directory.ts';
import { makeDirectory } from '../../src/redis/make-directory.ts';
import { socketPathFor } from '../../src/redis/embedded/process.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'runwatch-test-'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test('a directory is made for this user alone, with those above it, by several at once', async () => {
  const path = join(folder, 'a', 'b', 'c');
  await Promise.all([makeDirectory(path), makeDirectory(path), makeDirectory(join(folder, 'a'))]);
  await makeDirectory(path);
  for (const made of [path, join(folder, 'a')]) {
    expect((await stat(made)).mode & 0o777).toBe(0o700);
  }
});

test('a directory is not made where a file is in its way', async () => {
  await writeFile(join(folder, 'file'), '');
  await expect(makeDirectory(join(folder, 'file'))).rejects.toMatchObject({ code: 'EEXIST' });
  await expect(makeDirectory(join(folder, 'file', 'a', 'b'))).rejects.toMatchObject({
    code: 'ENOTDIR',
  });
});

test('a data directory that the system denies is refused with its path and the cure', async () => {
  await expect(needDataDirectory('/proc/runwatch/data')).rejects.toMatchObject({
    code: 'data_directory_unusable',
    message: expect.stringMatching(
      /^the data directory \/proc\/runwatch\/data cannot be written \(.*ENOENT.*set RUNWATCH_DATA_DIR/,
    ),
  });
});

test('an error of the system without a path names the data directory, and others stay as they are', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    syscall: 'write',
  });
  expect(unwritable('/data', full)).toMatchObject({
    code: 'data_directory_unusable',
    message: expect.stringMatching(/^the data directory \/data cannot be written \(ENOSPC/),
  });
  const other = new Error('other');
  expect(unwritable('/data', other)).toBe(other);
});

test('a folder for the socket that cannot be made is named, with the cure', async () => {
  const dataDir = join(folder, 'd'.repeat(120));
  await expect(socketPathFor(dataDir, ['/proc/.cache/runwatch'])).rejects.toMatchObject({
    code: 'socket_path_unusable',
    message: expect.stringMatching(
      /^\/proc\/\.cache\/runwatch cannot be made \(.*ENOENT.*shorter data directory$/,
    ),
  });
});
