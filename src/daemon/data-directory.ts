import { createHash, randomUUID } from 'node:crypto';
import { access, constants, stat, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { distrust, ownUids } from '../config/read-file.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import type { KnownStore } from '../core/store-loss.ts';
import { makeDirectory } from '../redis/make-directory.ts';
import { holdsData } from '../redis/embedded/rescue.ts';
import { isCode } from '../redis/file-lock.ts';

/**
 * Refuses a data directory that another user owns or may write to: keys and the data of the embedded
 * Redis lie in it. A missing one is created later, for this user alone.
 * @throws RunwatchError `data_directory_untrusted`, `data_directory_unusable`
 */
export async function checkDataDirectory(path: string): Promise<void> {
  const stats = await stat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return null;
    throw new RunwatchError(`the data directory ${path} cannot be used: ${messageOf(error)}`, {
      code: 'data_directory_unusable',
      cause: error,
    });
  });
  if (stats === null) return;
  const reason = distrust({ path, stats, uids: ownUids({}) });
  if (reason === null) return;
  const remedy = 'or set RUNWATCH_DATA_DIR to a directory of your own';
  throw new RunwatchError(`the data directory is not used: ${reason}, ${remedy}`, {
    code: 'data_directory_untrusted',
  });
}

/**
 * Makes the data directory unless it exists, for a part that cannot do without one.
 * @throws RunwatchError `data_directory_unusable`, with the cure
 */
export async function needDataDirectory(path: string): Promise<void> {
  try {
    await makeDirectory(path);
    await access(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Where the data of a restore stand until they are whole. */
export const RESTORING = 'restoring';

/**
 * Refuses a directory in which a restore was ended before its data were whole: it would become an empty store.
 * @throws RunwatchError `restore_unfinished`
 */
export async function refuseUnfinished(path: string): Promise<void> {
  if (!(await isThere(join(path, RESTORING))) || (await holdsData(path))) return;
  throw new RunwatchError(
    `the restore into ${path} was not finished: repeat \`runwatch store restore\`, or remove the directory ` +
      `${join(path, RESTORING)} to begin with an empty store`,
    { code: 'restore_unfinished' },
  );
}

/** Whether there is a file or directory, as far as this process may see it. */
export function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Of an error of the system, what it means and the cure; any other one as it is. */
export function unwritable(path: string, error: unknown): unknown {
  if (typeof error !== 'object' || error === null || !('syscall' in error)) return error;
  return new RunwatchError(
    `the data directory ${path} cannot be written (${messageOf(error)}): set RUNWATCH_DATA_DIR to ` +
      'a directory with room that this user may write to, or REDIS_URL to a Redis that runs already',
    { code: 'data_directory_unusable', cause: error },
  );
}

const schema = z.object({ epoch: z.string(), events: z.number(), watches: z.number() });

/** Remembers the state of a store over restarts. */
export interface EpochFile {
  read(): Promise<KnownStore | null>;
  write(known: KnownStore): Promise<void>;
}

/**
 * One file in the data directory for each store.
 * @param store its address and prefix
 */
export function createEpochFile(dataDir: string, store: string): EpochFile {
  const name = createHash('sha256').update(store).digest('hex').slice(0, 12);
  const path = join(dataDir, `store-${name}.json`);
  return {
    async read() {
      const text = await readFile(path, 'utf8').catch((error: unknown) => {
        if (isCode(error, 'ENOENT')) return '';
        throw error;
      });
      return parse(text);
    },
    async write(known) {
      await makeDirectory(dataDir);
      const draft = `${path}.${randomUUID()}`;
      await writeFile(draft, `${JSON.stringify(known)}\n`, { mode: 0o600 });
      await rename(draft, path);
    },
  };
}

/** Null for a file that was truncated or edited. */
function parse(text: string): KnownStore | null {
  try {
    return schema.safeParse(JSON.parse(text)).data ?? null;
  } catch {
    return null;
  }
}
