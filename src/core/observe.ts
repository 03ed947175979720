import { buildEvent } from './change-event.ts';
import { assertNever } from './errors.ts';
import { isTerminalEvent, type RunwatchEvent } from './event.ts';
import type { Lesson } from './lesson.ts';
import type { Finding, Look, ObserveContext } from './look.ts';
import { isEntry, reminded } from './reminder.ts';
import { isAwaiting } from './run.ts';
import { runSeen } from './run-seen.ts';
import { lessonsOf } from './stage-lessons.ts';
import { readFailed, runMissing } from './trouble.ts';
import { withChanges } from './watch-copy.ts';
import type { Watch } from './watch.ts';

/** The message for Noxus's 404. */
const NOT_FOUND = 'Noxus does not know this run (404)';

/** A watch after a poll, and what the poll result gave rise to. */
export interface Observation {
  watch: Watch;
  events: RunwatchEvent[];
  /** Duration samples; empty unless the run left a state. */
  lessons: Lesson[];
  /** True where the source itself may be failing: nothing shows that it answers for other runs. */
  isDoubtful: boolean;
}

/**
 * The step of the state machine: the watch after one poll result. Pure: the same watch, result and
 * context always give the same events.
 */
export function observe(watch: Watch, look: Look, context: ObserveContext): Observation {
  const finding = findingOf(watch, look, context);
  const found = withChanges(watch, finding.changes);
  // In an outage of its source the run may have ended in time: that is seen after it.
  const isOver = context.now >= watch.timeoutAt && context.closedFor !== 'unreachable';
  const expired = found.state === 'active' && isOver;
  const seen = withChanges(found, {
    state: expired ? 'expired' : found.state,
    polls: watch.polls + 1,
    lastPolledAt: context.now,
  });
  const news = expired ? [...finding.news, { type: 'watch.expired' as const }] : finding.news;
  const { now, newMark } = context;
  const change = { before: watch, after: seen, now, newMark };
  const events = news.map((one, index) => buildEvent(change, one, watch.sequence + index + 1));
  return {
    watch: settle(seen, events, finding.nextPollAt, context.now),
    events,
    lessons: lessonsOf(watch, seen, context.now),
    isDoubtful: finding.isDoubtful ?? false,
  };
}

function findingOf(watch: Watch, look: Look, context: ObserveContext): Finding {
  switch (look.kind) {
    case 'run':
      return runSeen(watch, look.run, context);
    case 'not_found':
      return runMissing(watch, { code: 'not_found', message: NOT_FOUND }, context);
    case 'rejected': {
      const message = `Noxus rejects the run id (422): ${look.message}`;
      return runMissing(watch, { code: 'rejected', message }, context);
    }
    case 'unauthorized':
    case 'forbidden':
    case 'rate_limited':
    case 'unavailable':
    case 'invalid_response':
      return readFailed(watch, look, context);
    default:
      return assertNever(look);
  }
}

/**
 * Numbers the events, keeps the notice for late subscribers, and sets the time of the next poll, if
 * any.
 */
function settle(watch: Watch, events: RunwatchEvent[], nextPollAt: number, now: number): Watch {
  const ended = watch.state !== 'active';
  return withChanges(watch, {
    sequence: watch.sequence + events.length,
    pastEnds: endsAfter(watch, events),
    notice: noticeAfter(watch, events),
    waiting: reminded(watch.waiting, events),
    endedAt: ended ? now : null,
    nextPollAt: ended ? null : Math.round(Math.min(nextPollAt, Math.max(watch.timeoutAt, now))),
  });
}

function endsAfter({ pastEnds }: Watch, events: RunwatchEvent[]): Watch['pastEnds'] {
  const ends = events.map(({ type }) => type).filter(isTerminalEvent);
  return ends.length === 0 ? pastEnds : [...new Set([...pastEnds, ...ends])];
}

/** The event for late subscribers: the run's end or its wait for a human; they get nothing else. */
function noticeAfter(watch: Watch, events: RunwatchEvent[]): Watch['notice'] {
  if (watch.state === 'finished' || watch.state === 'gone') {
    const last = events.at(-1);
    return last ? { eventId: last.id, type: last.type } : watch.notice;
  }
  if (!isAwaiting(watch.run?.status ?? '')) return null;
  const entered = events.find(isEntry);
  return entered ? { eventId: entered.id, type: entered.type } : watch.notice;
}
