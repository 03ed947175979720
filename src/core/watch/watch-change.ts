import type { DurationSample, Dwell, WorkflowKey } from '../cadence/phase.ts';
import type { RequestKind } from '../cadence/load.ts';
import type { Delivery } from '../delivery/delivery.ts';
import type { RunwatchEvent } from '../event/event.ts';
import type { StoredWatch, Watch } from './watch.ts';

/** A watch to write, with its state when read and what its change gives rise to. */
export interface WatchChange {
  /** Null for a watch that is new. */
  before: StoredWatch | null;
  after: Watch;
  events: RunwatchEvent[];
  deliveries: Delivery[];
  /** Duration samples; absent for changes without a poll. */
  samples?: DurationSample[];
  /** The change of the schedule in the same step; absent for none. */
  schedule?: ScheduleChange;
}

/** A change of the schedule. Times count from the write, by the store's clock. */
export type ScheduleChange =
  /** A claimed poll is done: the watch is due again, or leaves the schedule. */
  | {
      does: 'settle';
      token: string;
      next: { inMs: number; kind: RequestKind } | null;
      /** How long its permit counts after the answer; null where that need not be written. */
      permitMs: number | null;
    }
  /** The watch is due within a time, and enters the schedule unless it is there already. */
  | { does: 'enter'; withinMs: number; kind: RequestKind }
  /** The watch is due within a time, if it is in the schedule at all. */
  | { does: 'expedite'; withinMs: number }
  /** The watch leaves the schedule. A poll under way continues, and finds the watch changed. */
  | { does: 'leave' };

const SECOND_MS = 1_000;

/** What the end of a watch adds to the statistics of whole runs. */
export interface WatchedRun extends WorkflowKey {
  /** How long the run lasted from its creation on, as far as it was watched. */
  duration: Dwell;
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
