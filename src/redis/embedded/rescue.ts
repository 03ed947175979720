import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { RunwatchError } from '../../core/errors.ts';
import { isCode } from '../file-lock.ts';
import { SOCKET_NAME, writePidFile } from './process.ts';

/** The directory and the socket of a server, as the file system numbers them; null for none. */
export interface Place {
  directory: string | null;
  socket: string | null;
}

/** A server keeps both alive while it runs, so that their numbers are not given to others. */
export async function identify(dataDir: string): Promise<Place> {
  return {
    directory: await numberOf(dataDir),
    socket: await numberOf(join(dataDir, SOCKET_NAME)),
  };
}

async function numberOf(path: string): Promise<string | null> {
  try {
    const { dev, ino } = await stat(path, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENOTDIR')) return null;
    throw error;
  }
}

interface Loss {
  what: string;
  /** Whether a restart of the server would find its data. */
  isDataLost: boolean;
  /** Whether the directory is another one and has data of its own. */
  isReplaced: boolean;
}

/** Compares a data directory with what its server found there; null while all is there. */
export async function findLoss(dataDir: string, place: Place): Promise<Loss | null> {
  const { directory, socket } = await identify(dataDir);
  const hasData = await holdsData(dataDir);
  const loss = (what: string) => ({
    what,
    isDataLost: directory !== place.directory || !hasData,
    isReplaced: directory !== place.directory && hasData,
  });
  if (directory === null) return loss(`${dataDir} is gone`);
  if (directory !== place.directory) return loss(`${dataDir} is another directory than before`);
  if (!hasData) return loss(`the append-only file in ${dataDir} is gone`);
  return socket === place.socket ? null : loss(`the socket of Redis in ${dataDir} is gone`);
}

/** The append-only file, or its directory: of Redis 7 and later, and of 6.2. */
export const APPEND_ONLY_NAMES = ['appendonlydir', 'appendonly.aof'];

/** Names of the append-only file: of Redis 7 and later, where it is whole by its manifest, and of 6.2. */
const DATA_FILES = [join('appendonlydir', 'appendonly.aof.manifest'), 'appendonly.aof'];

/** Whether a data directory has data of a server. */
export async function holdsData(dataDir: string): Promise<boolean> {
  const found = await Promise.all(DATA_FILES.map((name) => numberOf(join(dataDir, name))));
  return found.some((number) => number !== null);
}

const LOOK_AGAIN_MS = 50;

/**
 * Lets a server write all that it holds into its data directory, where that is gone. It may be shut down
 * then.
 * @param touch called while it takes
 * @throws RunwatchError `data_directory_replaced`, `data_not_written`
 */
export async function keepData(
  { control, pid, place }: { control: Redis; pid: number; place: Place },
  dataDir: string,
  touch: () => Promise<void>,
): Promise<void> {
  const loss = await findLoss(dataDir, place);
  if (loss === null) return;
  if (loss.isReplaced) throw replaced(dataDir);
  // Until the server has ended, another start must find it.
  await writePidFile(dataDir, pid);
  if (!loss.isDataLost) return;
  // By a file that is written from the beginning: it has its name only once it is whole.
  await control.config('SET', 'appendonly', 'no');
  await control.config('SET', 'dir', dataDir);
  // From here on the directory is the server's own, also for another attempt.
  place.directory = (await identify(dataDir)).directory;
  await writeAppendOnlyFile(control, dataDir, touch);
}

/**
 * Lets a server without an append-only file write one of all that it holds, and go on with it.
 * @param touch called while it takes
 * @throws RunwatchError `data_not_written`
 */
export async function writeAppendOnlyFile(
  control: Redis,
  dataDir: string,
  touch: () => Promise<void>,
): Promise<void> {
  await control.config('SET', 'appendonly', 'yes');
  let state = await writingState(control);
  while (state === 'under way') {
    await touch();
    await delay(LOOK_AGAIN_MS);
    state = await writingState(control);
  }
  if (state === 'done' && (await holdsData(dataDir))) return;
  const message = `Redis cannot write its data into ${dataDir}: see redis.log there`;
  throw new RunwatchError(message, { code: 'data_not_written' });
}

async function writingState(control: Redis): Promise<'under way' | 'done' | 'failed'> {
  const info = await control.info('persistence');
  if (/^aof_rewrite_in_progress:1/m.test(info)) return 'under way';
  // Redis tries again after ever longer pauses, and says that this is scheduled.
  if (!/^aof_last_bgrewrite_status:ok/m.test(info)) return 'failed';
  return /^aof_rewrite_scheduled:1/m.test(info) ? 'under way' : 'done';
}

function replaced(dataDir: string): RunwatchError {
  const message =
    `${dataDir} is another directory than Redis works in, and holds data of its own: restart the ` +
    'daemon to go on with those, or move them away to keep what Redis holds';
  return new RunwatchError(message, { code: 'data_directory_replaced' });
}
