import { createHash } from 'node:crypto';
import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { RunwatchError } from '../core/errors.ts';
import { isCode } from './file-lock.ts';

/** The name of the socket in the data directory, which is the server's working directory. */
export const SOCKET_NAME = 'redis.sock';

/**
 * Longest path of a unix socket that every system takes: sun_path holds 108 bytes on Linux and
 * 104 on macOS and the BSDs, each with a closing zero. Source: unix(7), unix(4).
 */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * The path by which clients reach the server of a data directory. Where the straight path is too
 * long for a socket, it leads over a short symbolic link in a directory of the user's own, never in
 * one that all users share; the socket itself always lies with the data.
 * @param ownDirs directories where the link may be, the best first
 * @throws RunwatchError `socket_path_unusable` when no path is short enough, or when the short
 *   one could belong to someone else
 */
export async function socketPathFor(dataDir: string, ownDirs: readonly string[]): Promise<string> {
  const straight = join(dataDir, SOCKET_NAME);
  if (fits(straight)) return straight;

  const name = createHash('sha256').update(dataDir).digest('hex').slice(0, 16);
  const folder = ownDirs.find((dir) => fits(join(dir, name, SOCKET_NAME)));
  if (folder === undefined) {
    throw unusable([straight, ...ownDirs].join(', ').concat(': too long for a unix socket'));
  }
  const alias = join(folder, name);
  await ensureOwnFolder(folder);
  await ensureLink(alias, dataDir);
  return join(alias, SOCKET_NAME);
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
}

/** What is found there is not trusted by its name. */
async function ensureOwnFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  const isOwn = found.isDirectory() && found.uid === userInfo().uid && (found.mode & 0o077) === 0;
  if (!isOwn) throw unusable(`${folder} is not a directory that only this user can enter`);
}

async function ensureLink(alias: string, target: string): Promise<void> {
  const current = await readlink(alias).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  });
  if (current === target) return;
  await rm(alias, { force: true });
  await symlink(target, alias);
}

function unusable(message: string): RunwatchError {
  return new RunwatchError(`${message}; choose a shorter data directory`, {
    code: 'socket_path_unusable',
  });
}
