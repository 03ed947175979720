import type { Stay } from './lesson.ts';
import type { WatchChange } from './watch-change.ts';
import type { WorkflowKey } from './workflow-statistics.ts';

const SECOND_MS = 1_000;

/** What the end of a watch adds to the statistics of whole runs. */
export interface WatchedRun extends WorkflowKey {
  /** How long the run lasted from its creation on, as far as it was watched. */
  duration: Stay;
  /** Requests and delay of seeing the end; null where it was not seen. */
  polled: { requests: number; delayS: number } | null;
}

/**
 * The run of a watch that this change ends; null where the watch goes on. Null too where no poll
 * ran while the run was active, as after a registration past its end.
 */
export function watchedRun({
  before,
  after,
}: Pick<WatchChange, 'before' | 'after'>): WatchedRun | null {
  const { run, endedAt } = after;
  if (
    run === null ||
    run.workflow_id === null ||
    endedAt === null ||
    before?.watch.state !== 'active'
  )
    return null;
  const ended = after.state === 'finished';
  const endMs = ended && run.finished_at !== null ? Date.parse(run.finished_at) : endedAt;
  if (after.state === 'gone' || after.registeredAt >= endMs) return null;
  const createdMs = Math.min(Date.parse(run.created_at ?? run.observed_at), endMs);
  const ageS = (at: number) => Math.max(0, at - createdMs) / SECOND_MS;
  return {
    source: after.source,
    workflowId: run.workflow_id,
    duration: { fromS: ageS(after.registeredAt), toS: ageS(endMs), ended },
    polled: ended
      ? { requests: after.polls, delayS: Math.max(0, endedAt - endMs) / SECOND_MS }
      : null,
  };
}
