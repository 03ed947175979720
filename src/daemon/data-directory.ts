import { stat } from 'node:fs/promises';
import { distrust, ownUids } from '../config/trust.ts';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { isCode } from '../redis/file-lock.ts';

/**
 * Refuses a data directory that another user of the machine may have prepared, or may write to: keys
 * and the data of our own Redis lie in it. One that is missing is made later, for this user alone.
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
