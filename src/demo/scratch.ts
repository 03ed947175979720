import { mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The demo's own temporary directory, which it removes at its end unless a user needs the log. */
export interface Scratch {
  readonly path: string;
  /** Where the daemon and its Redis keep their data. */
  readonly dataDir: string;
  readonly logPath: string;
  /**
   * Keeps the directory for the user to read.
   * @returns false where the log is empty, so that the directory is still removed
   */
  keepForReading(): boolean;
  /**
   * Stops a Redis that still runs in it, and removes it. Synchronous, so it also works during
   * process exit.
   */
  remove(): void;
}

export function createScratch(): Scratch {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'runwatch-demo-')));
  const dataDir = join(path, 'data');
  const logPath = join(path, 'daemon.log');
  let kept = false;
  return {
    path,
    dataDir,
    logPath,
    keepForReading() {
      kept = (statSync(logPath, { throwIfNoEntry: false })?.size ?? 0) > 0;
      return kept;
    },
    remove() {
      endRedis(dataDir);
      if (!kept) rmSync(path, { recursive: true, force: true });
    },
  };
}

/**
 * Stops a Redis that was not shut down: a regular shutdown removes the pid file. It still runs
 * where a user opened it by hand, or where this process ends abruptly.
 */
function endRedis(dataDir: string): void {
  const pid = Number.parseInt(readIfThere(join(dataDir, 'redis.pid')), 10);
  if (!(pid > 0)) return;
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}
