import { registerDefaults } from '../config/schema.ts';
import { firstKind } from '../core/source/request-order.ts';
import type { ListedRun } from '../core/feed/run-list.ts';
import { isBegunAgain, reopened } from '../core/watch/attempt.ts';
import type { WatchChange } from '../redis/watch-change.ts';
import type { Source } from './source.ts';

/** The most watches that one read of a page reopens: a list that errs must not cost many requests. */
const MOST_REOPENED = 10;

/**
 * Has runs polled that had ended, and of which a list shows another attempt. A poll that finds none takes the watch
 * back to its end. Each watch and its due time are written in one step, unless another process was faster.
 */
export async function reopenBegunAgain(
  { process, name, schedule, traits }: Source,
  runs: readonly ListedRun[],
): Promise<void> {
  const later = traits.attempts ? runs.filter(({ attempt = 1 }) => attempt > 1) : [];
  if (later.length === 0) return;
  const { watches } = process.stores;
  const { timeoutMs, minIntervalMs } = registerDefaults(process.config);
  const now = process.now();
  const stored = await watches.getMany(later.map(({ id: runId }) => ({ source: name, runId })));
  const changes = later.flatMap((run, at): WatchChange[] => {
    const before = stored[at] ?? null;
    if (before === null || !isBegunAgain(before.watch, run, now)) return [];
    const after = reopened(before.watch, { now, timeoutMs, defaults: { minIntervalMs } });
    const enters = { does: 'enter', withinMs: 0, kind: firstKind(after) } as const;
    return [{ before, after, events: [], deliveries: [], schedule: enters }];
  });
  if (changes.length === 0) return;
  const written = await watches.commitMany(changes.slice(0, MOST_REOPENED));
  await schedule.entered(written.filter((due) => due !== null).length);
}
