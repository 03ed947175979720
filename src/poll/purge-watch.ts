import { RunwatchError } from '../core/errors.ts';
import type { WatchKey } from '../core/watch/watch.ts';

/** Tries to purge a watch that other processes change meanwhile. */
const TRIES = 10;

interface PurgeWatchDependencies {
  /** @returns false for an unknown watch */
  endWatch: (key: WatchKey) => Promise<boolean>;
  skipOutstanding: (key: WatchKey) => Promise<void>;
  /** Forgets a watch that has ended, with its events and deliveries, unless one is outstanding. */
  forget: (key: WatchKey) => Promise<'forgotten' | 'kept' | 'unknown'>;
}

/**
 * The use case behind purging: it ends a watch, and erases its record, events and deliveries. The record
 * goes last, so that a purge which was interrupted finds the watch again.
 * Returns a function that resolves with false for an unknown watch, and throws RunwatchError
 * `purge_interrupted` where other processes change the watch all the time.
 */
export function createPurgeWatch({ endWatch, skipOutstanding, forget }: PurgeWatchDependencies) {
  return async function purgeWatch(key: WatchKey): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (!(await endWatch(key))) return tries > 0;
      await skipOutstanding(key);
      if ((await forget(key)) !== 'kept') return true;
    }
    throw new RunwatchError('the watch changes all the time; purge it again', {
      code: 'purge_interrupted',
    });
  };
}
