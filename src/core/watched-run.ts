import type { Stay } from './lesson.ts';
import type { WatchChange } from './watch-change.ts';
import type { WorkflowKey } from './workflow-statistics.ts';

const SECOND_MS = 1_000;

/** What the end of a watch tells of its run as a whole. */
export interface WatchedRun extends WorkflowKey {
  /** How long the run lasted from its creation on, as far as it was watched. */
  duration: Stay;
  /** What it took to see the end; null where there was none to see. */
  polled: { requests: number; delayS: number } | null;
}

/**
 * The run of a watch that ends by this change; null where it does not end, or nobody watched while
 * the run went on: one that was registered after its end was not polled for it.
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
