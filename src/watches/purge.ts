import type { AuditRecord } from '../core/audit.ts';
import { RunwatchError } from '../core/errors.ts';
import { watchId, type WatchKey } from '../core/watch/watch.ts';
import type { Process } from '../process.ts';
import { endWatch } from './end.ts';

/** Tries to purge a watch that other processes change meanwhile. */
const TRIES = 10;

/** What other parts do for a run that is purged. */
interface PurgeSteps {
  skipOutstanding: (key: WatchKey) => Promise<void>;
  /** Takes the run out of its alerts. */
  leaveAlerts: (key: WatchKey) => Promise<void>;
}

/**
 * The use case behind purging: it ends a watch, and erases its record, events and deliveries. The record
 * goes last, so that a purge which was interrupted finds the watch again; the audit log has it with that step.
 * Resolves with false for an unknown watch, and throws RunwatchError
 * `purge_interrupted` where other processes change the watch all the time.
 */
export async function purgeWatch(
  process: Process,
  key: WatchKey,
  { skipOutstanding, leaveAlerts }: PurgeSteps,
  audit: AuditRecord | null = null,
): Promise<boolean> {
  const { batches, watches } = process.stores;
  const memberOf = (await watches.get(key))?.watch.batches ?? [];
  const leaveBatches = async () => {
    for (const id of memberOf) await batches.forgetRun(id, watchId(key));
  };
  for (let tries = 0; tries < TRIES; tries += 1) {
    if (!(await endWatch(process, key))) return tries > 0;
    await leaveBatches();
    await skipOutstanding(key);
    await leaveAlerts(key);
    const by = { audit, isPurged: true };
    if ((await process.stores.retention.forget(key, by)) === 'kept') continue;
    // A batch may have completed meanwhile.
    await leaveBatches();
    return true;
  }
  throw new RunwatchError('the watch changes all the time; purge it again', {
    code: 'purge_interrupted',
  });
}
