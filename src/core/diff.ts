import type { EventType } from './event.ts';
import { isAwaiting, isKnownStatus, isTerminalStatus, type RunSnapshot } from './run.ts';

/** Unknown statuses that a watch reports and remembers; a server that makes them up reports no more. */
const MOST_UNKNOWN_STATUSES = 20;

/**
 * What changed between two looks at a run, in the order in which it is told: leaving a state comes
 * before progress, progress before entering a state.
 * @param previous the last look; null on the first, which counts for the states that people act on
 * @param reported statuses outside the known ones that were told before
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

/** Progress that Noxus does not give is no change of it. */
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

/** A status outside the known ones that `run.status_unknown` is yet to tell of. */
export function isUnreported(status: string, reported: readonly string[]): boolean {
  return (
    !isKnownStatus(status) && !reported.includes(status) && reported.length < MOST_UNKNOWN_STATUSES
  );
}
