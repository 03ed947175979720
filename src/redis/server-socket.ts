import { createHash } from 'node:crypto';
import { lstat, mkdir, readlink, rm, symlink } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
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
 * long for a socket, it leads over a short symbolic link in a directory of the user's own under
 * the system's temporary one; the socket itself always lies with the data.
 * @throws RunwatchError `socket_path_unusable` when no path is short enough, or when the short
 *   one could belong to someone else
 */
export async function socketPathFor(dataDir: string): Promise<string> {
  const straight = join(dataDir, SOCKET_NAME);
  if (fits(straight)) return straight;

  const folder = join(tmpdir(), `runwatch-${userInfo().uid}`);
  const alias = join(folder, createHash('sha256').update(dataDir).digest('hex').slice(0, 16));
  const short = join(alias, SOCKET_NAME);
  if (!fits(short)) {
    throw unusable(`${straight} and ${short} are both too long for a unix socket`);
  }
  await ensureOwnFolder(folder);
  await ensureLink(alias, dataDir);
  return short;
}

function fits(path: string): boolean {
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES;
}

/** Anyone may write to the temporary directory, so what is found there is not trusted by name. */
async function ensureOwnFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error;
  });
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
