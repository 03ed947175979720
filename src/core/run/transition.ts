import {
  type EventType,
  isoTime,
  isTerminalEvent,
  type EventDraft,
  type RunwatchEvent,
} from '../event/event.ts';
import { watchEventId, type NewMark } from '../event/ids.ts';
import type { LinksOf } from './links.ts';
import type { RunNodes } from './nodes.ts';
import type { Watch } from '../watch/watch.ts';
import { isAwaiting, isKnownStatus, isTerminalStatus, type RunSnapshot } from './snapshot.ts';

/**
 * Most unknown statuses that a watch reports and remembers, to bound what a faulty server can
 * cause.
 */
const MOST_UNKNOWN_STATUSES = 20;

/**
 * The changes between two snapshots of a run, in the order of their events: leaving a state, then
 * progress, then entering a state.
 * @param previous the last snapshot; null on the first poll, which yields only events that call for
 * action
 * @param reported unknown statuses that already had an event
 */
export function diffRun(
  previous: RunSnapshot | null,
  next: RunSnapshot,
  reported: readonly string[],
): EventType[] {
  const moved = previous?.status !== next.status;
  return [
    ...(moved && previous !== null ? leaving(previous.status, next.status) : []),
    ...(previous !== null && hasProgressed(previous, next) ? (['run.progress'] as const) : []),
    ...(moved ? entering(next.status, reported) : []),
  ];
}

/** A missing progress value is no change. */
function hasProgressed(previous: RunSnapshot, next: RunSnapshot): boolean {
  return next.progress !== null && previous.progress !== next.progress;
}

function leaving(from: string, to: string): EventType[] {
  if (isAwaiting(from)) return isAwaiting(to) ? [] : ['run.resumed'];
  return from === 'queued' && to === 'running' ? ['run.started'] : [];
}

function entering(status: string, reported: readonly string[]): EventType[] {
  if (isAwaiting(status)) return ['run.awaiting_human_feedback'];
  if (isTerminalStatus(status)) return [`run.${status}`];
  return isUnreported(status, reported) ? ['run.status_unknown'] : [];
}

/** A status outside the known ones that has had no `run.status_unknown` yet. */
export function isUnreported(status: string, reported: readonly string[]): boolean {
  return (
    !isKnownStatus(status) && !reported.includes(status) && reported.length < MOST_UNKNOWN_STATUSES
  );
}

/** What all events of one poll have in common. */
export interface Change {
  before: Watch;
  after: Watch;
  now: number;
  newMark: NewMark;
  linksOf: LinksOf;
  nodes: RunNodes | null;
}

export function buildEvent(
  { before, after, now, newMark, linksOf, nodes }: Change,
  { type, details }: EventDraft,
  sequence: number,
): RunwatchEvent {
  const { source, runId, metadata, registeredAt, pastEnds } = before;
  const links = linksOf(after);
  const finishedAt = after.run?.finished_at ?? null;
  return {
    id: watchEventId({ source, runId, type, registeredAt, pastEnds }, newMark),
    type,
    timestamp: (isTerminalEvent(type) ? finishedAt : null) ?? isoTime(now),
    data: {
      run_id: runId,
      run: after.run,
      previous: before.run && { status: before.run.status, progress: before.run.progress },
      nodes,
      sequence,
      detected_at: isoTime(now),
      detection_delay_ms: detectionDelay(finishedAt, registeredAt, now),
      workflow_name: links.workflowName,
      run_url: links.runUrl,
      watch_url: links.watchUrl,
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
