import { nextLook } from './cadence.ts';
import { buildEvent } from './change-event.ts';
import { diffRun } from './diff.ts';
import { assertNever } from './errors.ts';
import type { RunwatchEvent } from './event.ts';
import { streamedDelay } from './hint.ts';
import type { Lesson } from './lesson.ts';
import type { Finding, Look, ObserveContext } from './look.ts';
import {
  dueReminders,
  isEntry,
  nextReminderAt,
  reminded,
  waitEnded,
  waitingAfter,
} from './reminder.ts';
import { isKnownStatus, isTerminalStatus, type RunSnapshot } from './run.ts';
import { stagesAfter } from './stage.ts';
import { lessonsOf } from './stage-lessons.ts';
import { readFailed, runGone, runMissing, sourcePaused } from './trouble.ts';
import { followStay } from './stall.ts';
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
  const asked = wasAsked(look);
  const expired = state === 'active' && context.now >= watch.timeoutAt;
  const seen: Watch = {
    ...watch,
    ...finding.changes,
    state: expired ? 'expired' : state,
    polls: watch.polls + (asked ? 1 : 0),
    lastPolledAt: asked ? context.now : watch.lastPolledAt,
  };
  const news = expired ? [...finding.news, { type: 'watch.expired' as const }] : finding.news;
  const change = { before: watch, after: seen, now: context.now };
  const events = news.map((one, index) => buildEvent(change, one, watch.sequence + index + 1));
  return {
    watch: settle(seen, events, finding.nextPollAt, context.now),
    events,
    lessons: lessonsOf(watch, seen, context.now),
  };
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

function runSeen(watch: Watch, run: RunSnapshot, context: ObserveContext): Finding {
  const { now, policy, statistics, beganAt, isStreamed } = context;
  const types = diffRun(watch.run, run, watch.unknownStatuses);
  const stages = stagesAfter(watch.stages, watch.run, run, now);
  const changed = watch.run === null || types.length > 0;
  const { intervalMs, delayMs } = nextLook({ ...watch, run, stages }, changed, context);
  const waiting = waitingAfter(watch.waiting, run.status, now);
  const nextLookAt = now + (isStreamed ? streamedDelay(watch, delayMs) : delayMs);
  const staying = followStay({
    stay: watch.stay,
    run: watch.run,
    next: run,
    now,
    stallAfterMs: policy.stallAfterMs,
    nextLookAt,
    source: watch.source,
    stages,
    statistics,
  });
  const isNewStatus = !isKnownStatus(run.status) && !watch.unknownStatuses.includes(run.status);
  return {
    changes: {
      run,
      runAskedAt: beganAt,
      state: isTerminalStatus(run.status) ? 'finished' : 'active',
      trouble: null,
      missing: null,
      unreachable: false,
      unknownStatuses: isNewStatus ? [...watch.unknownStatuses, run.status] : watch.unknownStatuses,
      waiting,
      stages,
      stay: staying.stay,
      cadence: { intervalMs, failures: 0 },
    },
    news: [
      ...(watch.unreachable ? [{ type: 'watch.recovered' as const }] : []),
      ...staying.recovered,
      ...types.map((type) => ({ type, details: waitEnded(watch.waiting, type, now) })),
      ...dueReminders(waiting, policy.remindAfterMs, now),
      ...staying.stalled,
    ],
    nextPollAt: Math.min(
      nextLookAt,
      Math.max(
        now + policy.minIntervalMs,
        Math.min(nextReminderAt(waiting, policy.remindAfterMs), staying.stallsAt),
      ),
    ),
  };
}

/**
 * Numbers the watch, keeps what latecomers are told, and says when to look again, if ever. Field by
 * field, for V8 copies what is a copy by spread already more slowly than all the rest of a look takes.
 */
function settle(watch: Watch, events: RunwatchEvent[], nextPollAt: number, now: number): Watch {
  const ended = watch.state !== 'active';
  return {
    source: watch.source,
    runId: watch.runId,
    state: watch.state,
    run: watch.run,
    runAskedAt: watch.runAskedAt,
    metadata: watch.metadata,
    subscriptions: watch.subscriptions,
    sequence: watch.sequence + events.length,
    polls: watch.polls,
    profile: watch.profile,
    maxDelayMs: watch.maxDelayMs,
    registeredAt: watch.registeredAt,
    lastPolledAt: watch.lastPolledAt,
    nextPollAt: ended ? null : Math.round(Math.min(nextPollAt, Math.max(watch.timeoutAt, now))),
    timeoutAt: watch.timeoutAt,
    endedAt: ended ? now : null,
    trouble: watch.trouble,
    unreachable: watch.unreachable,
    missing: watch.missing,
    gone: watch.gone,
    unknownStatuses: watch.unknownStatuses,
    notice: noticeAfter(watch, events),
    waiting: reminded(watch.waiting, events),
    stay: watch.stay,
    stages: watch.stages,
    cadence: watch.cadence,
  };
}

/** Latecomers are told how a run ended, or that it waits for a human; nothing else is news to them. */
function noticeAfter(watch: Watch, events: RunwatchEvent[]): Watch['notice'] {
  if (watch.state === 'finished' || watch.state === 'gone') {
    const last = events.at(-1);
    return last ? { eventId: last.id, type: last.type } : watch.notice;
  }
  if (watch.run?.status !== 'awaiting_human_feedback') return null;
  const entered = events.find(isEntry);
  return entered ? { eventId: entered.id, type: entered.type } : watch.notice;
}
