import { nextInterval, pollDelay, troubleDelay } from './cadence.ts';
import type { Random } from './backoff.ts';
import { diffRun } from './diff.ts';
import { assertNever } from './errors.ts';
import { eventId, isoTime, isTerminalEvent, type News, type RunwatchEvent } from './event.ts';
import type { FetchOutcome, FetchTrouble, TroubleKind } from './outcome.ts';
import {
  dueReminders,
  isEntry,
  nextReminderAt,
  reminded,
  waitEnded,
  waitingAfter,
} from './reminder.ts';
import { isKnownStatus, isTerminalStatus, type RunSnapshot } from './run.ts';
import type { Watch } from './watch.ts';

/** How often a 404 is confirmed before a run counts as gone. */
const GONE_CONFIRMATIONS = 3;

/** What a 404 comes to, in words. */
export const NOT_FOUND = 'Noxus does not know this run (404)';

/** Polls held back by a pause are spread over this time after it. */
const PAUSE_SPREAD_MS = 1_000;

/** Limits of polling, in milliseconds. */
export interface PollPolicy {
  minIntervalMs: number;
  maxIntervalMs: number;
  /** How long no answer may tell anything before `watch.unreachable`. */
  unreachableAfterMs: number;
  /** How long 404s must last before `run.gone`. */
  goneAfterMs: number;
  /** When to remind of a run that waits for a human, after it began to; ascending. */
  remindAfterMs: readonly number[];
}

/** The source takes no requests for now, so nothing was learned of the run. */
export interface SourcePaused {
  kind: 'paused';
  /** True for the request that was answered with the pause, false for those it kept back. */
  asked: boolean;
  reason: TroubleKind;
  message: string;
  /** When it takes requests again, milliseconds since the epoch. */
  untilMs: number;
}

export interface ObserveContext {
  now: number;
  policy: PollPolicy;
  random: Random;
}

/** A watch after a look, and what that look gave rise to. */
export interface Observation {
  watch: Watch;
  events: RunwatchEvent[];
}

/** What a look adds to a watch, before it is numbered and scheduled. */
interface Finding {
  changes: Partial<Watch>;
  news: News[];
  /** When to look again, milliseconds since the epoch; ignored once the watch has ended. */
  nextPollAt: number;
}

/**
 * The step of the state machine: what a watch becomes by one look at its run. Pure; the same watch,
 * look and context always give the same events with the same ids.
 */
export function observe(
  watch: Watch,
  look: FetchOutcome | SourcePaused,
  context: ObserveContext,
): Observation {
  const finding = findingOf(watch, look, context);
  const state = finding.changes.state ?? watch.state;
  const expired = state === 'active' && context.now >= watch.timeoutAt;
  const seen: Watch = {
    ...watch,
    ...finding.changes,
    state: expired ? 'expired' : state,
    ...(wasAsked(look) && { polls: watch.polls + 1, lastPolledAt: context.now }),
  };
  const news = expired ? [...finding.news, { type: 'watch.expired' as const }] : finding.news;
  const change = { before: watch, after: seen, now: context.now };
  const events = news.map((one, index) => buildEvent(change, one, watch.sequence + index + 1));
  return { watch: settle(seen, events, finding.nextPollAt, context.now), events };
}

function wasAsked(look: FetchOutcome | SourcePaused): boolean {
  return look.kind !== 'paused' || look.asked;
}

function findingOf(
  watch: Watch,
  look: FetchOutcome | SourcePaused,
  context: ObserveContext,
): Finding {
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
  const waiting = waitingAfter(watch.waiting, run.status, now);
  const isNewStatus = !isKnownStatus(run.status) && !watch.unknownStatuses.includes(run.status);
  return {
    changes: {
      run,
      state: isTerminalStatus(run.status) ? 'finished' : 'active',
      trouble: null,
      missing: null,
      unreachable: false,
      unknownStatuses: isNewStatus ? [...watch.unknownStatuses, run.status] : watch.unknownStatuses,
      waiting,
      cadence: { intervalMs, failures: 0 },
    },
    news: [
      ...(watch.unreachable ? [{ type: 'watch.recovered' as const }] : []),
      ...types.map((type) => ({ type, details: waitEnded(watch.waiting, type, now) })),
      ...dueReminders(waiting, policy.remindAfterMs, now),
    ],
    nextPollAt: Math.min(
      now + pollDelay(intervalMs, watch.maxDelayMs, random),
      Math.max(now + policy.minIntervalMs, nextReminderAt(waiting, policy.remindAfterMs)),
    ),
  };
}

/** A 404 is believed only when it lasts: runs may become visible late, and proxies answer 404 too. */
function runMissing(watch: Watch, { now, policy }: ObserveContext): Finding {
  const missing = {
    count: (watch.missing?.count ?? 0) + 1,
    since: watch.missing?.since ?? now,
  };
  const goneAt = missing.since + policy.goneAfterMs;
  if (missing.count > GONE_CONFIRMATIONS && now >= goneAt) {
    return runGone({ code: 'not_found', message: NOT_FOUND, since: missing.since });
  }
  const step = now + policy.goneAfterMs / GONE_CONFIRMATIONS;
  return {
    changes: { missing },
    news: [],
    nextPollAt: Math.max(step, now + policy.minIntervalMs),
  };
}

function runGone(gone: NonNullable<Watch['gone']>): Finding {
  return {
    changes: { state: 'gone', gone, missing: null, trouble: null },
    news: [{ type: 'run.gone', details: { error: { ...gone, since: isoTime(gone.since) } } }],
    nextPollAt: gone.since,
  };
}

function readFailed(watch: Watch, look: FetchTrouble, context: ObserveContext): Finding {
  const failures = watch.cadence.failures + 1;
  const retryAt = context.now + troubleDelay(failures, context.random);
  const finding = cannotTell(watch, look, retryAt, context);
  return { ...finding, changes: { ...finding.changes, cadence: { ...watch.cadence, failures } } };
}

/** Watches that wait for the same pause to end do not all come back in the same instant. */
function sourcePaused(watch: Watch, pause: SourcePaused, context: ObserveContext): Finding {
  const retryAt = pause.untilMs + context.random() * PAUSE_SPREAD_MS;
  return cannotTell(watch, { kind: pause.reason, message: pause.message }, retryAt, context);
}

/** Nothing was learned of the run: its snapshot stays, and only a long silence is worth an event. */
function cannotTell(
  watch: Watch,
  { kind, message }: { kind: TroubleKind; message: string },
  retryAt: number,
  { now, policy }: ObserveContext,
): Finding {
  const trouble = { kind, message, since: watch.trouble?.since ?? now };
  const unreachableAt = trouble.since + policy.unreachableAfterMs;
  const raise = !watch.unreachable && now >= unreachableAt;
  const told = watch.unreachable || raise;
  const error = { code: kind, message, since: isoTime(trouble.since) };
  return {
    changes: { trouble, unreachable: told },
    news: raise ? [{ type: 'watch.unreachable', details: { error } }] : [],
    nextPollAt: told ? retryAt : Math.min(retryAt, unreachableAt),
  };
}

/** Everything that the events of one look have in common. */
interface Change {
  before: Watch;
  after: Watch;
  now: number;
}

function buildEvent(
  { before, after, now }: Change,
  { type, details }: News,
  sequence: number,
): RunwatchEvent {
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
      ...details,
    },
  };
}

/** Numbers the watch, keeps what latecomers are told, and says when to look again, if ever. */
function settle(watch: Watch, events: RunwatchEvent[], nextPollAt: number, now: number): Watch {
  const ended = watch.state !== 'active';
  return {
    ...watch,
    sequence: watch.sequence + events.length,
    notice: noticeAfter(watch, events),
    waiting: reminded(watch.waiting, events),
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
  const entered = events.find(isEntry);
  return entered ? { eventId: entered.id, type: entered.type } : watch.notice;
}
