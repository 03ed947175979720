import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs';
import { messageOf } from '../core/errors.ts';

/** Most that the file of one secret may hold. */
export const MAX_SECRET_BYTES = 64 * 1024;

export type FileRead =
  | { kind: 'read'; text: string; stats: Stats }
  /** Nothing of the file's content is in `message`. */
  | { kind: 'unreadable'; message: string; isAbsent: boolean };

/**
 * Reads a whole regular file. Pipes and devices are refused before reading: one would block for
 * ever, the other never end.
 * @param name the file's name in messages
 */
export function readRegularFile(
  path: string,
  { maxBytes, name = path }: { maxBytes: number; name?: string },
): FileRead {
  let file: number;
  try {
    // Without O_NONBLOCK, opening a pipe waits for its writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    return failure(name, error);
  }
  try {
    const stats = fstatSync(file);
    if (stats.isDirectory()) return unreadable(`cannot read ${name} (EISDIR)`);
    if (!stats.isFile()) return unreadable(`${name} is not a regular file`);
    const bytes = readUpTo(file, maxBytes + 1);
    if (bytes.length <= maxBytes) return { kind: 'read', text: bytes.toString('utf8'), stats };
    return unreadable(`${name} is larger than ${sizeText(maxBytes)}`);
  } catch (error) {
    return failure(name, error);
  } finally {
    closeSync(file);
  }
}

function readUpTo(file: number, most: number): Buffer {
  const chunks: Buffer[] = [];
  let left = most;
  while (left > 0) {
    const chunk = Buffer.alloc(Math.min(left, 64 * 1024));
    const length = readSync(file, chunk);
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    left -= length;
  }
  return Buffer.concat(chunks);
}

function sizeText(bytes: number): string {
  return bytes >= 1024 * 1024 ? `${bytes / 1024 / 1024} MiB` : `${bytes / 1024} KiB`;
}

/** Why there is no file to read, in the words of the operating system. */
function failure(name: string, error: unknown): FileRead {
  const code = (error as NodeJS.ErrnoException).code ?? messageOf(error);
  const isAbsent = code === 'ENOENT' || code === 'ENOTDIR';
  return { kind: 'unreadable', message: `cannot read ${name} (${code})`, isAbsent };
}

function unreadable(message: string): FileRead {
  return { kind: 'unreadable', message, isAbsent: false };
}

const ROOT = 0;
const WRITABLE_BY_ALL = 0o002;

/** The allowed owners of a file or directory besides root, and its name in messages. */
interface Trust {
  path: string;
  stats: Pick<Stats, 'uid' | 'mode'>;
  /** Undefined where users have no ids. */
  uids: readonly (number | undefined)[];
}

/**
 * Why a file or directory that another user of the machine may have put there is refused, with the
 * cure; null where it is trusted. Group-writable is allowed: volumes of Kubernetes are (`fsGroup`).
 */
export function distrust({ path, stats: { uid, mode }, uids }: Trust): string | null {
  const [self] = uids;
  if (self === undefined) return null;
  if (uid !== ROOT && !uids.includes(uid)) {
    return `${path} belongs to user ${uid}, neither to this user (${self}) nor to root: chown ${self} ${path}`;
  }
  if ((mode & WRITABLE_BY_ALL) === 0) return null;
  return `every user of this machine may write to ${path}: chmod o-w ${path}`;
}

/** The ids of this process's user, and of the user behind sudo. */
export function ownUids(env: NodeJS.ProcessEnv): number[] {
  const self = process.getuid?.();
  if (self === undefined) return [];
  const sudo = Number(env['SUDO_UID'] || NaN);
  return Number.isInteger(sudo) ? [self, sudo] : [self];
}
