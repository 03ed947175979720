import { nextLook } from './cadence.ts';
import { diffRun, isUnreported } from './diff.ts';
import { streamedDelay } from './hint.ts';
import type { Finding, ObserveContext } from './look.ts';
import { dueReminders, nextReminderAt, waitEnded, waitingAfter } from './reminder.ts';
import { isTerminalStatus, type RunSnapshot } from './run.ts';
import { stagesAfter, type Stage } from './stage.ts';
import { followStay, usualStayMs } from './stall.ts';
import type { Watch } from './watch.ts';

/** The observation for a poll that returned the run. */
export function runSeen(watch: Watch, run: RunSnapshot, context: ObserveContext): Finding {
  const { now, policy, statistics, beganAt, isStreamed } = context;
  const types = diffRun(watch.run, run, watch.unknownStatuses);
  const stages = stagesAfter(watch.stages, watch.run, run, now);
  const changed = watch.run === null || types.length > 0;
  const { intervalMs, delayMs } = nextLook(pacedBy(watch, run, stages), changed, context);
  const waited = watch.run?.status === run.status ? watch.waiting : null;
  const waiting = waitingAfter(waited, run.status, now);
  const lookAgainAt = now + (isStreamed ? streamedDelay(watch, delayMs) : delayMs);
  const staying = followStay({
    stay: watch.stay,
    run: watch.run,
    next: run,
    now,
    policy,
    lookAgainAt,
    usualMs: () => usualStayMs(statistics, { source: watch.source, run, stages }),
  });
  const isNewStatus = isUnreported(run.status, watch.unknownStatuses);
  return {
    changes: {
      run,
      runAskedAt: beganAt,
      state: isTerminalStatus(run.status) ? 'finished' : 'active',
      trouble: null,
      missing: null,
      unreachable: false,
      unknownStatuses: isNewStatus ? [...watch.unknownStatuses, run.status] : watch.unknownStatuses,
      waiting,
      stages,
      stay: staying.stay,
      cadence: { intervalMs, failures: 0 },
    },
    news: [
      ...(watch.unreachable ? [{ type: 'watch.recovered' as const }] : []),
      ...staying.recovered,
      ...types.map((type) => ({ type, details: waitEnded(watch.waiting, type, now) })),
      ...dueReminders(waiting, policy.remindAfterMs, now),
      ...staying.stalled,
    ],
    nextPollAt: Math.min(
      lookAgainAt,
      Math.max(
        now + policy.minIntervalMs,
        Math.min(nextReminderAt(waiting, policy.remindAfterMs), staying.stallsAt),
      ),
    ),
  };
}

/**
 * Written out field by field: every poll runs this, and copying a whole watch is many times slower.
 */
function pacedBy(watch: Watch, run: RunSnapshot, stages: Stage[]) {
  const { source, metadata, subscriptions, profile, maxDelayMs, cadence } = watch;
  return { source, run, metadata, subscriptions, profile, maxDelayMs, stages, cadence };
}
