import type { HistoryStore } from '../redis/stores/history-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';
import { startPeriodic, type Periodic } from './periodic.ts';

/**
 * How long after its last delivery settled a watch is folded, ms. Until then it is read, registered and
 * delivered again most.
 */
const AFTER_MS = 60_000;

/** How often watches are taken that are due for folding, ms. */
const EVERY_MS = 30_000;

/** The share of its time that a process folds at the most: under load, folding waits. */
const SHARE = 0.1;

/** Watches folded at a time. */
const AT_ONCE = 10;

interface FoldingOptions {
  /** For how long ended watches are kept, ms. */
  retentionMs: number;
  now: () => number;
  log: Logger;
}

/** Folds watches that have ended, once their deliveries have settled. */
export function startFolding(
  store: Pick<HistoryStore, 'takeDue' | 'fold'>,
  { retentionMs, now, log }: FoldingOptions,
): Periodic {
  // With a short retention, as in tests, watches are folded before they are forgotten.
  const afterMs = Math.min(AFTER_MS, retentionMs / 1_000);
  const everyMs = Math.min(EVERY_MS, Math.max(100, afterMs));
  return startPeriodic(
    async () => {
      const until = performance.now() + everyMs * SHARE;
      do {
        const due = await store.takeDue(now() - afterMs, AT_ONCE);
        await Promise.all(due.map((key) => store.fold(key)));
        if (due.length < AT_ONCE) return;
      } while (performance.now() < until);
    },
    { everyMs, onError: faultLog(log, 'folding') },
  );
}
