import { troubleDelay, nextPoll } from '../cadence/cadence.ts';
import { type DurationSample, phasesAfter, durationSamples } from '../cadence/phase.ts';
import { acknowledgedAfter, expiryOf, remindersUnder } from './acknowledgement.ts';
import { type Phase, withChangedState, withChanges, type Watch } from './watch.ts';
import { isTerminalEvent, type EventDraft, type RunwatchEvent, isoTime } from '../event/event.ts';
import { streamedDelay } from '../feed/stream-trust.ts';
import {
  type PollResult,
  isAwaiting,
  type FetchTrouble,
  type TroubleKind,
  isTerminalStatus,
  type RunSnapshot,
} from '../run/snapshot.ts';
import { buildEvent, diffRun, mayReport, withReported } from '../run/transition.ts';
import { attemptShown } from './attempt.ts';
import type { ObservationDraft, ObserveContext } from './observation.ts';
import { recordPoll, type RecentPoll } from './poll-history.ts';
import { answeredSince, runMissing } from './gone.ts';
import { judgePoll, takesBack, type Judgement } from './doubt.ts';
import { followDwell, usualDwellMs } from './stall.ts';
import {
  dueReminders,
  followWaits,
  isEntry,
  isPending,
  isStillFoundWaiting,
  nextReminderAt,
  nextWaitPoll,
  reminded,
  waitEnded,
  waitingAfter,
} from './waits.ts';

/** A watch after a poll, and what the poll result gave rise to. */
export interface Observation {
  watch: Watch;
  events: RunwatchEvent[];
  /** Duration samples; empty unless the run left a state. */
  samples: DurationSample[];
  /**
   * From when on requests that are left over may poll the run, milliseconds since the epoch; null for
   * not before the next poll is due.
   */
  spareAt: number | null;
  /** True where the source itself may be failing: nothing shows that it answers for other runs. */
  isDoubtful: boolean;
  /** What the poll says of how far the source agrees with itself; null for nothing. */
  agreement: 'agreed' | 'contradicted' | null;
}

/**
 * The step of the state machine: the watch after one poll result. Pure: the same watch, result and
 * context always give the same events.
 */
export function observe(watch: Watch, result: PollResult, context: ObserveContext): Observation {
  const finding = draftOf(watch, result, context);
  const found = withChanges(watch, finding.changes);
  // In an outage of its source the run may have ended in time: that is seen after it.
  const isOver = context.now >= watch.timeoutAt && context.closedFor !== 'unreachable';
  const state = found.state === 'active' && isOver ? stateAtTimeout(found) : found.state;
  const expired = state === 'expired';
  const polled = withChanges(found, {
    state,
    polls: watch.polls + 1,
    pollHistory: recordPoll(watch.pollHistory, pollOf(result, context), watch.registeredAt),
    lastPolledAt: context.now,
  });
  const seen = withChangedState(watch, polled, context.now);
  const news = expired ? [...finding.news, { type: 'watch.expired' as const }] : finding.news;
  const { now, newMark, linksOf, nodes } = context;
  const change = { before: watch, after: seen, now, newMark, linksOf, nodes };
  const events = news.map((one, index) => buildEvent(change, one, watch.sequence + index + 1));
  return {
    watch: settle(seen, events, finding.nextPollAt, context.now),
    events,
    samples: durationSamples(watch, seen, context.now),
    spareAt: finding.spareAt ?? null,
    isDoubtful: finding.isDoubtful ?? false,
    agreement: finding.isContradiction === true ? 'contradicted' : agreementOf(watch, seen),
  };
}

/** A run of which no other attempt was seen in time has ended, as before. */
function stateAtTimeout(watch: Watch): Watch['state'] {
  return watch.isReopened ? 'finished' : 'expired';
}

function agreementOf({ run: before, doubt }: Watch, { run: after }: Watch): 'agreed' | null {
  if (doubt === null || doubt.reads === 0 || before === null || after === null) return null;
  const isSame = before.status === after.status && before.progress === after.progress;
  return isSame ? null : 'agreed';
}

/** Whether the observation depends on whether the source is consistent. */
export function needsConsistency(
  watch: Watch,
  result: PollResult,
  nodes: ObserveContext['nodes'],
): boolean {
  if (result.kind !== 'run') return false;
  const { status } = result.run;
  const isReentry = watch.waits !== null && isAwaiting(status) && watch.run?.status !== status;
  return watch.doubt !== null || isReentry || takesBack(watch, result.run, nodes);
}

function pollOf(
  { kind: outcome }: PollResult,
  { mode, beganAt: at, now, lagMs }: ObserveContext,
): RecentPoll {
  return { at, mode, outcome, durationMs: now - at, lagMs };
}

function draftOf(watch: Watch, result: PollResult, context: ObserveContext): ObservationDraft {
  switch (result.kind) {
    case 'run':
      return notBefore(runSeen(watch, result.run, context), result.retryAfterMs, context.now);
    case 'not_found': {
      const message = `${context.label} does not know this run (404)`;
      return runMissing(watch, { code: 'not_found', message }, context);
    }
    case 'rejected': {
      const message = `${context.label} rejects the run id (422): ${result.message}`;
      return runMissing(watch, { code: 'rejected', message }, context);
    }
    case 'unauthorized':
    case 'forbidden':
    case 'rate_limited':
    case 'unavailable':
    case 'invalid_response':
      return readFailed(watch, result, context);
  }
}

/** The source may ask for a delay of this run; others are polled as ever. */
function notBefore(
  draft: ObservationDraft,
  retryAfterMs: number | undefined,
  now: number,
): ObservationDraft {
  if (retryAfterMs === undefined) return draft;
  const { nextPollAt, spareAt = null } = draft;
  const at = now + retryAfterMs;
  return {
    ...draft,
    nextPollAt: Math.max(nextPollAt, at),
    spareAt: spareAt === null ? null : Math.max(spareAt, at),
  };
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
    ...(ended && { waits: null, foundWaiting: false, doubt: null, isReopened: false, held: [] }),
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
    const last = events.findLast(({ type }) => isTerminalEvent(type) || type === 'run.gone');
    return last ? { eventId: last.id, type: last.type } : watch.notice;
  }
  if (watch.isReopened) return watch.notice;
  if (!isAwaiting(watch.run?.status ?? '')) return null;
  const entered = events.find(isEntry);
  return entered ? { eventId: entered.id, type: entered.type } : watch.notice;
}

/** A failure while the source is closed is no failure of the run, which waits for its next poll. */
function readFailed(watch: Watch, result: FetchTrouble, context: ObserveContext): ObservationDraft {
  const { now, policy, random } = context;
  const isSourceClosed = context.closedFor !== null;
  const failures = watch.cadence.failures + (isSourceClosed ? 0 : 1);
  const delayMs = isSourceClosed ? policy.minIntervalMs : troubleDelay(failures, random);
  const finding = cannotTell(watch, result, now + delayMs, context);
  return { ...finding, changes: { ...finding.changes, cadence: { ...watch.cadence, failures } } };
}

/**
 * The poll showed nothing of the run: its snapshot remains. Only a long silence raises an event,
 * and only while its source answers for others. Time without requests is no silence: the lag of
 * polls does not count.
 */
function cannotTell(
  watch: Watch,
  { kind, message }: { kind: TroubleKind; message: string },
  retryAt: number,
  { now, policy, lagMs, answeredAt, openSince }: ObserveContext,
): ObservationDraft {
  const { since, lateMs } = silenceOf(watch, now, lagMs);
  const trouble = { kind, message, since, ...(lateMs > 0 && { lateMs }) };
  // While the whole source gave no answer, this run did not fail.
  const failingSince = Math.max(since + lateMs, openSince ?? since);
  const unreachableAt = failingSince + policy.unreachableAfterMs;
  const isDue = !watch.unreachable && now >= unreachableAt;
  const raise = isDue && answeredSince(failingSince, answeredAt);
  const isReported = watch.unreachable || raise;
  const error = { code: kind, message, since: isoTime(trouble.since) };
  return {
    changes: { trouble, unreachable: isReported },
    news: raise ? [{ type: 'watch.unreachable', details: { error } }] : [],
    nextPollAt: isReported || isDue ? retryAt : Math.min(retryAt, unreachableAt),
    isDoubtful: isDue && !raise,
  };
}

/** Since when the run has had no valid answer, and how much of that time polls lagged. */
function silenceOf({ trouble }: Watch, now: number, lagMs: number) {
  if (trouble === null) return { since: now, lateMs: 0 };
  return { since: trouble.since, lateMs: (trouble.lateMs ?? 0) + lagMs };
}

/** The observation for a poll that returned the run. */
function runSeen(watch: Watch, run: RunSnapshot, context: ObserveContext): ObservationDraft {
  switch (attemptShown(watch, run)) {
    case 'earlier':
      return runOutOfDate(watch, context);
    case 'later':
      return runRestarted(watch, run, context);
    case 'same':
      return watch.isReopened
        ? endSeenAgain(watch, run, context)
        : attemptSeen(watch, run, context);
  }
}

function attemptSeen(watch: Watch, run: RunSnapshot, context: ObserveContext): ObservationDraft {
  const judged = judgePoll(watch, run, context);
  return judged.is === 'doubted'
    ? runDoubted(watch, judged)
    : runCounted(watch, run, { ...context, judged });
}

/** The answer is older than what is known: it says nothing. It is asked for again, less and less often. */
function runOutOfDate(watch: Watch, { now, policy }: ObserveContext): ObservationDraft {
  const { minIntervalMs, maxIntervalMs } = policy;
  const intervalMs = Math.max(minIntervalMs, Math.min(2 * watch.cadence.intervalMs, maxIntervalMs));
  return {
    changes: { ...ANSWERED, cadence: { intervalMs, failures: 0 } },
    news: recoveredFrom(watch),
    nextPollAt: now + intervalMs,
  };
}

/** Another attempt begins as a run does that was never seen; only what it leaves is known. */
function runRestarted(watch: Watch, run: RunSnapshot, context: ObserveContext): ObservationDraft {
  const begun = withChanges(watch, {
    run: null,
    runAskedAt: null,
    waiting: null,
    waits: null,
    doubt: null,
    phases: [],
  });
  const judged: CountedPoll = { is: 'counted', disagreesWith: null, doubt: null };
  const draft = runCounted(begun, run, { ...context, judged, isRestart: true });
  const { attempt = null } = run;
  return {
    ...draft,
    changes: {
      ...draft.changes,
      attempt,
      restartedAt: context.now,
      foundWaiting: false,
      pastEnds: [],
      isReopened: false,
      held: [],
    },
  };
}

/** No other attempt has begun. What was known of the end remains, also where an answer is from before it. */
function endSeenAgain(watch: Watch, run: RunSnapshot, context: ObserveContext): ObservationDraft {
  if (!isTerminalStatus(run.status)) return runOutOfDate(watch, context);
  const { attempt } = run;
  return {
    changes: {
      ...ANSWERED,
      run:
        watch.run === null || attempt === undefined
          ? (watch.run ?? run)
          : { ...watch.run, attempt },
      attempt: attempt ?? watch.attempt,
      state: 'finished',
    },
    news: recoveredFrom(watch),
    nextPollAt: context.now,
  };
}

function recoveredFrom({ unreachable }: Watch): EventDraft[] {
  return unreachable ? [{ type: 'watch.recovered' }] : [];
}

type CountedPoll = Extract<Judgement, { is: 'counted' }>;

function runCounted(
  watch: Watch,
  run: RunSnapshot,
  context: ObserveContext & { judged: CountedPoll; isRestart?: boolean },
): ObservationDraft {
  const { now, policy, beganAt, judged, isRestart = false } = context;
  const { disagreesWith, doubt } = judged;
  const types = diffRun(watch.run, run, (status) => mayReport(watch, status, now));
  const entry = followWaits(watch, run, { ...context, disagreesWith, types });
  const phases = phasesAfter(goingOn(watch, run, entry), watch.run, run, now);
  const changed = watch.run === null || types.length > 0;
  const { intervalMs, ...delays } = nextPoll(pacedBy(watch, run, phases), changed, context);
  const { goesOn } = entry;
  const waiting = waitingAfter(goesOn ? watch.waiting : null, run.status, now);
  const { nextPollAt, spareAt } = pollTimes(watch, delays, context);
  const dwelling = dwellAfter(watch, run, { ...context, phases, nextPollAt });
  const isSame = goesOn && dwelling.recovered.length === 0;
  const acknowledged = acknowledgedAfter(watch.acknowledged, isSame, now);
  const reminders = isPending(entry.waits)
    ? []
    : remindersUnder(acknowledged, policy.remindAfterMs);
  const calledAt = Math.min(
    nextReminderAt(waiting, reminders),
    nextWaitPoll(entry.waits, now),
    expiryOf(acknowledged),
    dwelling.stallsAt,
    thirdPollAt(judged, now),
  );
  return {
    changes: {
      run,
      attempt: run.attempt ?? watch.attempt,
      runAskedAt: beganAt,
      state: isTerminalStatus(run.status) ? 'finished' : 'active',
      ...ANSWERED,
      ...(types.includes('run.status_unknown') && withReported(watch, run.status, now)),
      waiting,
      waits: entry.waits,
      foundWaiting: isStillFoundWaiting(watch, run, entry.types),
      doubt,
      acknowledged,
      phases,
      dwell: dwelling.dwell,
      cadence: { intervalMs, failures: 0 },
    },
    news: [
      ...recoveredFrom(watch),
      ...dwelling.recovered,
      ...(isRestart ? [{ type: 'run.restarted' as const }] : []),
      ...entry.types.map((type) => ({ type, details: waitEnded(watch.waiting, type, now) })),
      ...dueReminders(waiting, reminders, now),
      ...dwelling.stalled,
    ],
    nextPollAt: Math.min(nextPollAt, Math.max(now + policy.minIntervalMs, calledAt)),
    spareAt,
  };
}

/** The phases that may go on: none where the run is in another wait by the same name. */
function goingOn(
  { run: before, phases }: Watch,
  run: RunSnapshot,
  { goesOn }: { goesOn: boolean },
): Phase[] {
  return goesOn || before?.status !== run.status ? phases : [];
}

/** After a second poll that disagrees, a third one decides between a new wait and a contradiction. */
function thirdPollAt({ disagreesWith }: CountedPoll, now: number): number {
  return disagreesWith === null ? Infinity : now;
}

function dwellAfter(
  { source, dwell, run, runAskedAt: askedBefore }: Watch,
  next: RunSnapshot,
  { phases, nextPollAt, ...context }: ObserveContext & { phases: Phase[]; nextPollAt: number },
) {
  const { now, policy, statistics, beganAt: askedAt } = context;
  const usualMs = () => usualDwellMs(statistics, { source, run: next, phases });
  return followDwell({ dwell, run, next, now, askedAt, askedBefore, policy, nextPollAt, usualMs });
}

/** What an answer about the run ends. */
const ANSWERED = { trouble: null, missing: null, unreachable: false } as const;

/** The snapshot does not change until further polls agree with this one. */
function runDoubted(
  watch: Watch,
  { doubt, againAt, isContradiction }: Extract<Judgement, { is: 'doubted' }>,
): ObservationDraft {
  return {
    changes: {
      ...ANSWERED,
      doubt,
      cadence: { ...watch.cadence, failures: 0 },
    },
    news: recoveredFrom(watch),
    nextPollAt: againAt,
    isContradiction,
  };
}

function pollTimes(
  watch: Watch,
  { delayMs, spareMs }: { delayMs: number; spareMs: number | null },
  { now, isStreamed }: ObserveContext,
) {
  // What a stream stands in for is not worth a request that is left over.
  if (isStreamed) return { nextPollAt: now + streamedDelay(watch, delayMs), spareAt: null };
  return { nextPollAt: now + delayMs, spareAt: spareMs === null ? null : now + spareMs };
}

/**
 * Written out field by field: every poll runs this, and copying a whole watch is many times slower.
 */
function pacedBy(watch: Watch, run: RunSnapshot, phases: Phase[]) {
  const { source, metadata, subscriptions, profile, maxDelayMs, cadence } = watch;
  return { source, run, metadata, subscriptions, profile, maxDelayMs, phases, cadence };
}
