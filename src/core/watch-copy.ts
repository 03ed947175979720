import type { Watch } from './watch.ts';

/**
 * A copy of a watch with changes. The fields are written out because every poll copies, and V8
 * takes ten times as long to spread an object this large.
 */
export function withChanges(watch: Watch, changes: Partial<Watch>): Watch {
  const copy: Watch = {
    source: watch.source,
    runId: watch.runId,
    state: watch.state,
    run: watch.run,
    runAskedAt: watch.runAskedAt,
    metadata: watch.metadata,
    subscriptions: watch.subscriptions,
    formerWebhooks: watch.formerWebhooks,
    sequence: watch.sequence,
    pastEnds: watch.pastEnds,
    polls: watch.polls,
    profile: watch.profile,
    maxDelayMs: watch.maxDelayMs,
    registeredAt: watch.registeredAt,
    lastPolledAt: watch.lastPolledAt,
    nextPollAt: watch.nextPollAt,
    timeoutAt: watch.timeoutAt,
    endedAt: watch.endedAt,
    trouble: watch.trouble,
    unreachable: watch.unreachable,
    missing: watch.missing,
    gone: watch.gone,
    unknownStatuses: watch.unknownStatuses,
    notice: watch.notice,
    waiting: watch.waiting,
    stay: watch.stay,
    stages: watch.stages,
    cadence: watch.cadence,
  };
  return Object.assign(copy, changes);
}
