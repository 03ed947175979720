import { eventId, isoTime, type EventError, type EventType, type RunwatchEvent } from './event.ts';
import type { Watch } from './watch.ts';

/** Everything that the events of one look have in common. */
export interface Change {
  before: Watch;
  after: Watch;
  error: EventError | undefined;
  now: number;
}

export function buildEvent(change: Change, type: EventType, sequence: number): RunwatchEvent {
  const { before, after, error, now } = change;
  const { source, runId, metadata, registeredAt } = before;
  const finishedAt = isTerminalEvent(type) ? (after.run?.finished_at ?? null) : null;
  return {
    id: eventId({ source, runId, sequence, type }),
    type,
    timestamp: finishedAt ?? isoTime(now),
    data: {
      run_id: runId,
      run: after.run,
      previous: before.run && { status: before.run.status, progress: before.run.progress },
      sequence,
      detected_at: isoTime(now),
      detection_delay_ms: finishedAt === null ? null : Math.max(0, now - Date.parse(finishedAt)),
      watch: { source, metadata, registered_at: isoTime(registeredAt) },
      ...(error !== undefined && isAboutTrouble(type) && { error }),
    },
  };
}

function isTerminalEvent(type: EventType): boolean {
  return type === 'run.completed' || type === 'run.failed' || type === 'run.stopped';
}

function isAboutTrouble(type: EventType): boolean {
  return type === 'run.gone' || type === 'watch.unreachable';
}
