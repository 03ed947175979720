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
import { watchedSince } from '../watch/attempt.ts';
import type { Watch } from '../watch/watch.ts';
import { isAwaiting, isKnownStatus, isTerminalStatus, type RunSnapshot } from './snapshot.ts';

/**
 * Most unknown statuses that a watch reports and remembers, and most in an hour, to bound what a faulty
 * source can cause.
 */
const MOST_UNKNOWN_STATUSES = 20;
const MOST_IN_AN_HOUR = 3;

const HOUR_MS = 3_600_000;

/**
 * The changes between two snapshots of a run, in the order of their events: leaving a state, then
 * progress, then entering a state.
 * @param previous the last snapshot; null on the first poll, which yields only events that call for
 * action
 * @param isNews whether an unknown status gets an event now; one that lasts may get it later
 */
export function diffRun(
  previous: RunSnapshot | null,
  next: RunSnapshot,
  isNews: (status: string) => boolean,
): EventType[] {
  const moved = previous?.status !== next.status;
  return [
    ...(moved && previous !== null ? leaving(previous.status, next.status) : []),
    ...(previous !== null && hasProgressed(previous, next) ? (['run.progress'] as const) : []),
    ...(moved ? entering(next.status) : []),
    ...(!isKnownStatus(next.status) && isNews(next.status)
      ? (['run.status_unknown'] as const)
      : []),
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

function entering(status: string): EventType[] {
  if (isAwaiting(status)) return ['run.awaiting_human_feedback'];
  return isTerminalStatus(status) ? [`run.${status}`] : [];
}

type Reported = Pick<Watch, 'unknownStatuses' | 'unknownAt'>;

/** Whether an unknown status that has had no `run.status_unknown` yet gets one now. */
export function mayReport(
  { unknownStatuses, unknownAt }: Reported,
  status: string,
  now: number,
): boolean {
  return (
    !unknownStatuses.includes(status) &&
    unknownStatuses.length < MOST_UNKNOWN_STATUSES &&
    unknownAt.filter((at) => now - at < HOUR_MS).length < MOST_IN_AN_HOUR
  );
}

/** What a watch remembers once a status had its event. */
export function withReported(
  { unknownStatuses, unknownAt }: Reported,
  status: string,
  now: number,
): Reported {
  return {
    unknownStatuses: [...unknownStatuses, status],
    unknownAt: [...unknownAt, now].slice(-MOST_IN_AN_HOUR),
  };
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
  const { source, runId, metadata, registeredAt } = before;
  const { attempt, pastEnds } = after;
  const links = linksOf(after);
  const finishedAt = after.run?.finished_at ?? null;
  return {
    id: watchEventId({ source, runId, type, registeredAt, attempt, pastEnds }, newMark),
    type,
    timestamp: (isTerminalEvent(type) ? finishedAt : null) ?? isoTime(now),
    data: {
      run_id: runId,
      run: after.run,
      previous: before.run && { status: before.run.status, progress: before.run.progress },
      nodes,
      sequence,
      detected_at: isoTime(now),
      detection_delay_ms: detectionDelay(finishedAt, watchedSince(after), now),
      workflow_name: links.workflowName,
      run_url: links.runUrl,
      watch_url: links.watchUrl,
      watch: { source, metadata, registered_at: isoTime(registeredAt) },
      ...details,
    },
  };
}

/** Null where there was nothing to detect: a run, or an attempt of it, that ended before it was watched. */
function detectionDelay(
  finishedAt: string | null,
  watchedSinceMs: number,
  now: number,
): number | null {
  const ended = finishedAt === null ? NaN : Date.parse(finishedAt);
  return ended >= watchedSinceMs ? Math.max(0, now - ended) : null;
}
