import { watchEventId, type NewMark } from './event-id.ts';
import { isoTime, isTerminalEvent, type News, type RunwatchEvent } from './event.ts';
import type { Watch } from './watch.ts';

/** What all events of one poll have in common. */
export interface Change {
  before: Watch;
  after: Watch;
  now: number;
  newMark: NewMark;
}

export function buildEvent(
  { before, after, now, newMark }: Change,
  { type, details }: News,
  sequence: number,
): RunwatchEvent {
  const { source, runId, metadata, registeredAt, pastEnds } = before;
  const finishedAt = after.run?.finished_at ?? null;
  return {
    id: watchEventId({ source, runId, type, registeredAt, pastEnds }, newMark),
    type,
    timestamp: (isTerminalEvent(type) ? finishedAt : null) ?? isoTime(now),
    data: {
      run_id: runId,
      run: after.run,
      previous: before.run && { status: before.run.status, progress: before.run.progress },
      sequence,
      detected_at: isoTime(now),
      detection_delay_ms: detectionDelay(finishedAt, registeredAt, now),
      watch: { source, metadata, registered_at: isoTime(registeredAt) },
      ...details,
    },
  };
}

/** Null where there was nothing to detect: a run that ended before it was watched. */
function detectionDelay(
  finishedAt: string | null,
  registeredAt: number,
  now: number,
): number | null {
  const ended = finishedAt === null ? NaN : Date.parse(finishedAt);
  return ended >= registeredAt ? Math.max(0, now - ended) : null;
}
