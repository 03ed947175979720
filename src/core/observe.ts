import { nextInterval, pollDelay } from './cadence.ts';
import { buildEvent } from './change-event.ts';
import { diffRun } from './diff.ts';
import { assertNever } from './errors.ts';
import type { RunwatchEvent } from './event.ts';
import type { Lesson } from './lesson.ts';
import type { Finding, Look, ObserveContext } from './look.ts';
import { isKnownStatus, isTerminalStatus, type RunSnapshot } from './run.ts';
import { readFailed, runGone, runMissing, sourcePaused } from './trouble.ts';
import type { Watch } from './watch.ts';

/** A watch after a look, and what that look gave rise to. */
export interface Observation {
  watch: Watch;
  events: RunwatchEvent[];
  /** What it tells of how long states last: empty unless a stay has ended. */
  lessons: Lesson[];
}

/**
 * The step of the state machine: what a watch becomes by one look at its run. Pure; the same watch,
 * look and context always give the same events with the same ids.
 */
export function observe(watch: Watch, look: Look, context: ObserveContext): Observation {
  const finding = findingOf(watch, look, context);
  const state = finding.changes.state ?? watch.state;
  const expired = state === 'active' && context.now >= watch.timeoutAt;
  const seen: Watch = {
    ...watch,
    ...finding.changes,
    state: expired ? 'expired' : state,
    ...(wasAsked(look) && { polls: watch.polls + 1, lastPolledAt: context.now }),
  };
  const types = expired ? [...finding.types, 'watch.expired' as const] : finding.types;
  const change = { before: watch, after: seen, error: finding.error, now: context.now };
  const events = types.map((type, index) => buildEvent(change, type, watch.sequence + index + 1));
  return { watch: settle(seen, events, finding.nextPollAt, context.now), events, lessons: [] };
}

function wasAsked(look: Look): boolean {
  return look.kind !== 'paused' || look.asked;
}

function findingOf(watch: Watch, look: Look, context: ObserveContext): Finding {
  switch (look.kind) {
    case 'run':
      return runSeen(watch, look.run, context);
    case 'not_found':
      return runMissing(watch, context);
    case 'rejected':
      return runGone({
        code: 'rejected',
        message: `Noxus rejects the run id (422): ${look.message}`,
        since: context.now,
      });
    case 'paused':
      return sourcePaused(watch, look, context);
    case 'unauthorized':
    case 'rate_limited':
    case 'unavailable':
    case 'invalid_response':
      return readFailed(watch, look, context);
    default:
      return assertNever(look);
  }
}

function runSeen(watch: Watch, run: RunSnapshot, { now, policy, random }: ObserveContext): Finding {
  const types = diffRun(watch.run, run, watch.unknownStatuses);
  const intervalMs = nextInterval(
    {
      intervalMs: watch.cadence.intervalMs,
      profile: watch.profile,
      changed: watch.run === null || types.length > 0,
    },
    { ...policy, maxDelayMs: watch.maxDelayMs },
  );
  const isNewStatus = !isKnownStatus(run.status) && !watch.unknownStatuses.includes(run.status);
  return {
    changes: {
      run,
      state: isTerminalStatus(run.status) ? 'finished' : 'active',
      trouble: null,
      missing: null,
      unreachable: false,
      unknownStatuses: isNewStatus ? [...watch.unknownStatuses, run.status] : watch.unknownStatuses,
      cadence: { intervalMs, failures: 0 },
    },
    types: watch.unreachable ? ['watch.recovered', ...types] : types,
    nextPollAt: now + pollDelay(intervalMs, watch.maxDelayMs, random),
  };
}

/** Numbers the watch, keeps what latecomers are told, and says when to look again, if ever. */
function settle(watch: Watch, events: RunwatchEvent[], nextPollAt: number, now: number): Watch {
  const ended = watch.state !== 'active';
  return {
    ...watch,
    sequence: watch.sequence + events.length,
    notice: noticeAfter(watch, events),
    endedAt: ended ? now : null,
    nextPollAt: ended ? null : Math.round(Math.min(nextPollAt, Math.max(watch.timeoutAt, now))),
  };
}

/** Latecomers are told how a run ended, or that it waits for a human; nothing else is news to them. */
function noticeAfter(watch: Watch, events: RunwatchEvent[]): Watch['notice'] {
  if (watch.state === 'finished' || watch.state === 'gone') {
    const last = events.at(-1);
    return last ? { eventId: last.id, type: last.type } : watch.notice;
  }
  if (watch.run?.status !== 'awaiting_human_feedback') return null;
  const entered = events.find((event) => event.type === 'run.awaiting_human_feedback');
  return entered ? { eventId: entered.id, type: entered.type } : watch.notice;
}
