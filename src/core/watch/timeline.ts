import type { Attempt, Delivery } from '../delivery/delivery.ts';
import { isTerminalEvent, type RunwatchEvent } from '../event/event.ts';
import { timeOf, type RunSnapshot } from '../run/snapshot.ts';
import { recentPolls, type RecentPoll } from './poll-history.ts';
import type { Watch } from './watch.ts';

/** A watch with what belongs to it, each list oldest first. */
export interface WatchHistory {
  watch: Watch;
  events: RunwatchEvent[];
  deliveries: { delivery: Delivery; attempts: Attempt[] }[];
  /** Older events or deliveries are left out. */
  isCut: boolean;
}

/** A stretch of time in which a run had one status and one progress. Times are ms since the epoch. */
interface RunState {
  at: number;
  /** Null for the last one. */
  until: number | null;
  status: string;
  progress: number | null;
}

/** How the detection of an event took its time; null where that is not known. */
interface DetectionSplit {
  /** From the change, by the source's account, to the start of the poll, ms. */
  waitingMs: number | null;
  /** From the start of the poll, or the change if later, to the event, ms. */
  pollMs: number | null;
}

/** How a delivery took its time; null while that is not over. */
interface DeliverySplit {
  /** From the event to the start of the first attempt, ms. */
  relayMs: number | null;
  /** From the start of the first attempt to the receiver's consent, ms. */
  receiverMs: number | null;
}

/** What happened around a run, on one axis of time. */
export interface Timeline {
  states: RunState[];
  polls: RecentPoll[];
  events: { event: RunwatchEvent; split: DetectionSplit }[];
  deliveries: { delivery: Delivery; attempts: Attempt[]; split: DeliverySplit }[];
  isCut: boolean;
}

export function timelineOf({ watch, events, deliveries, isCut }: WatchHistory): Timeline {
  const polls = recentPolls(watch.pollHistory, watch.registeredAt);
  return {
    states: statesOf(watch, events),
    polls,
    events: events.map((event) => ({ event, split: detectionSplit(event, polls) })),
    deliveries: deliveries.map((one) => ({ ...one, split: deliverySplit(one) })),
    isCut,
  };
}

type Step = Omit<RunState, 'until'>;

/** The states of a run, as far as its events and the source's own times say, one attempt after another. */
function statesOf(watch: Watch, events: readonly RunwatchEvent[]): RunState[] {
  const attempts = attemptsOf(events);
  const steps = inOrder(
    attempts.flatMap((ofAttempt, at) => {
      const first = at === 0 ? firstSteps(watch, events) : [];
      const observed = withoutRepeats([...first, ...ofAttempt.flatMap(stepOf)]);
      const seen = ofAttempt.at(-1)?.data.run ?? null;
      return datedBySource(observed, at === attempts.length - 1 ? (watch.run ?? seen) : seen);
    }),
  );
  return steps.map(({ at, status, progress }, place) => {
    return { at, until: steps[place + 1]?.at ?? null, status, progress };
  });
}

/** The events of each attempt; without any, none of the only one. */
function attemptsOf(events: readonly RunwatchEvent[]): RunwatchEvent[][] {
  const attempts: RunwatchEvent[][] = [[]];
  for (const event of events) {
    if (event.type === 'run.restarted') attempts.push([]);
    attempts.at(-1)?.push(event);
  }
  return attempts;
}

/** The state in which the run was found, which has no event. */
function firstSteps({ run, registeredAt }: Watch, [first]: readonly RunwatchEvent[]): Step[] {
  const found = first === undefined ? run : first.data.previous;
  if (found === null) return [];
  return [{ at: registeredAt, status: found.status, progress: found.progress }];
}

function stepOf({ type, timestamp, data }: RunwatchEvent): Step[] {
  if (data.run === null) return [];
  const at = Date.parse(isTerminalEvent(type) ? timestamp : data.detected_at);
  return [{ at, status: data.run.status, progress: data.run.progress }];
}

function withoutRepeats(steps: readonly Step[]): Step[] {
  return steps.filter(({ status, progress }, place) => {
    const before = steps[place - 1];
    return before?.status !== status || before.progress !== progress;
  });
}

/** When an attempt was created and started, by its source's account, milliseconds since the epoch. */
interface SourceDates {
  /** No source says when a later attempt was created. */
  isLater: boolean;
  createdAt: number | null;
  startedAt: number | null;
}

function datesOf(run: RunSnapshot | null): SourceDates {
  const isLater = (run?.attempt ?? 1) > 1;
  const createdAt = isLater ? null : timeOf(run?.created_at);
  return { isLater, createdAt, startedAt: timeOf(run?.started_at) };
}

/** The source dates the creation and the start of a run, which a poll sees later. */
function datedBySource(steps: readonly Step[], run: RunSnapshot | null): Step[] {
  const dates = datesOf(run);
  const { createdAt, startedAt } = dates;
  const running = steps.findIndex(({ status }) => status === 'running');
  const dated = steps.map((step, place) => {
    if (place === running && startedAt !== null) return { ...step, at: startedAt };
    return place === 0 && step.status === 'queued' && createdAt !== null
      ? { ...step, at: createdAt }
      : step;
  });
  const [first] = dated;
  if (first === undefined || first.status === 'queued') return dated;
  return [...unseenSteps(dates, running === -1 ? first.at : null), ...dated];
}

/** The states before the first one that was seen. @param workedBefore until when it may have worked unseen; null for never */
function unseenSteps(
  { isLater, createdAt, startedAt }: SourceDates,
  workedBefore: number | null,
): Step[] {
  if (startedAt === null || (createdAt === null && !isLater)) return [];
  const queued = createdAt === null ? [] : [{ at: createdAt, status: 'queued', progress: null }];
  const isUnseen = workedBefore !== null && startedAt < workedBefore;
  return isUnseen ? [...queued, { at: startedAt, status: 'running', progress: null }] : queued;
}

/** No state begins before the one that it follows. */
function inOrder(steps: readonly Step[]): Step[] {
  let latest = -Infinity;
  return steps.map((step) => {
    latest = Math.max(latest, step.at);
    return { ...step, at: latest };
  });
}

function detectionSplit(
  { timestamp, data }: RunwatchEvent,
  polls: readonly RecentPoll[],
): DetectionSplit {
  const detectedAt = Date.parse(data.detected_at);
  const poll = polls.find(({ at, durationMs }) => at + durationMs === detectedAt);
  if (poll === undefined) return { waitingMs: null, pollMs: null };
  const changedAt = Date.parse(timestamp);
  const isDated = changedAt < detectedAt;
  return {
    waitingMs: isDated ? Math.max(0, poll.at - changedAt) : null,
    pollMs: detectedAt - (isDated ? Math.max(poll.at, changedAt) : poll.at),
  };
}

function deliverySplit({ delivery, attempts }: Omit<Timeline['deliveries'][number], 'split'>) {
  const beganAt = attempts[0]?.at ?? null;
  const { createdAt, deliveredAt } = delivery;
  return {
    relayMs: beganAt === null ? null : Math.max(0, beganAt - createdAt),
    receiverMs:
      beganAt === null || deliveredAt === null ? null : Math.max(0, deliveredAt - beganAt),
  };
}
