import { randomUUID } from 'node:crypto';
import { link, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { RunwatchError } from '../core/errors.ts';

const RETRY_MS = 25;
/** A holder touches its lock while it works; one untouched for this long has died. */
const STALE_AFTER_MS = 10_000;

/** Held while the callback of {@link withFileLock} runs. */
interface FileLock {
  /** To be called at least every few seconds by a holder that takes its time. */
  touch: () => Promise<void>;
}

/**
 * Runs `work` while no other process that asks for the lock at `path` does. A lock whose holder
 * died is taken over: at once when its process is gone, else when it was not
 * touched for 10 s. Process ids are used again, above all in containers.
 * @throws RunwatchError `lock_timeout` after `timeoutMs` of waiting
 */
export async function withFileLock<Result>(
  path: string,
  timeoutMs: number,
  work: (lock: FileLock) => Promise<Result>,
): Promise<Result> {
  const mark = `${process.pid} ${randomUUID()}`;
  await acquire(path, mark, timeoutMs);
  try {
    return await work({ touch: () => utimes(path, new Date(), new Date()) });
  } finally {
    if ((await readOrNull(path)) === mark) await rm(path, { force: true });
  }
}

async function acquire(path: string, mark: string, timeoutMs: number): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await create(path, mark))) {
    const holder = await readOrNull(path);
    if (holder !== null && (await isStale(path, holder))) {
      await removeStale(path, holder);
      continue;
    }
    if (performance.now() > deadline) {
      const message = `${path} has been held by process ${pidOf(holder)} for too long`;
      throw new RunwatchError(message, { code: 'lock_timeout', retriable: true });
    }
    await delay(RETRY_MS);
  }
}

async function create(path: string, mark: string): Promise<boolean> {
  const file = await open(path, 'wx', 0o600).catch((error: unknown) => {
    if (isCode(error, 'EEXIST')) return null;
    throw error;
  });
  if (file === null) return false;
  try {
    await file.writeFile(mark);
    return true;
  } catch (error) {
    // On a full disk it would lock others out, with nothing in it that names its holder.
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

async function isStale(path: string, holder: string): Promise<boolean> {
  const pid = pidOf(holder);
  if (pid > 0 && pid !== process.pid && !isAlive(pid)) return true;
  const age = await stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
  return age > STALE_AFTER_MS;
}

/** Moves the file aside before looking again, so that a lock taken meanwhile is not thrown away. */
async function removeStale(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return;
    throw error;
  }
  if ((await readOrNull(aside)) !== holder) await link(aside, path).catch(ignoreExisting);
  await rm(aside, { force: true });
}

async function readOrNull(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isCode(error, 'ENOENT')) return null;
    throw error;
  }
}

function pidOf(mark: string | null): number {
  return Number.parseInt(mark ?? '', 10) || 0;
}

/** Signal 0 only asks; EPERM says that the process exists and belongs to someone else. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isCode(error, 'EPERM');
  }
}

function ignoreExisting(error: unknown): void {
  if (!isCode(error, 'EEXIST')) throw error;
}

/** Whether what was thrown carries this system error code, such as ENOENT. */
export function isCode(thrown: unknown, code: string): boolean {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && thrown.code === code;
}
