import { mkdtempSync, readFileSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A temporary directory of this demo's own, which never outlives it unless somebody wants to read it. */
export interface Scratch {
  readonly path: string;
  /** Where the daemon and its Redis keep their data. */
  readonly dataDir: string;
  readonly logPath: string;
  /**
   * Keeps the directory for somebody to look into.
   * @returns false where the log says nothing, so that it is removed all the same
   */
  keepForReading(): boolean;
  /** Ends a Redis that still runs in it, and removes it. Synchronous: also works while the process ends. */
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
 * A Redis that is shut down in order has removed its pid file. One that is still there was left
 * running, because somebody looked into it or because this process ends in the middle of everything.
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
