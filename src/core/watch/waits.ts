import type { Delivery } from '../delivery/delivery.ts';
import { isWebhook } from '../delivery/receiver.ts';
import {
  isTerminalEvent,
  type EventDetails,
  type EventDraft,
  type EventType,
  type RunwatchEvent,
} from '../event/event.ts';
import type { RunNodes } from '../run/nodes.ts';
import { isAwaiting, timeOf, type RunSnapshot } from '../run/snapshot.ts';
import type { Doubt, Place, Waiting, Waits, Watch } from './watch.ts';

/**
 * So many entries into waits at one place are notified at once within {@link WITHIN_MS}. That a run has begun to wait
 * is seen by `core/run/transition.ts`.
 */
const NOTIFIED_AT_ONCE = 3;

/** The same at an inconsistent source, which makes up most of the others. */
const NOTIFIED_WHERE_INCONSISTENT = 2;

const WITHIN_MS = 600_000;

/** A further one is notified once the run has waited for so long, ms. */
const LASTS_MS = 60_000;

/** Meanwhile polls of the run are at most so far apart, to see that it still waits, ms. */
const POLL_EVERY_MS = 7_500;

/** Replicas lag by less: a doubt that begins so soon after an entry is of a time before it, ms. */
const LAG_MS = 5_000;

export function placeOf(
  { progress, started_at }: Pick<RunSnapshot, 'progress' | 'started_at'>,
  nodes: RunNodes | null,
): Place {
  return { progress, startedAt: timeOf(started_at), executed: nodes?.executed ?? null };
}

/** Streams come and go: nodes that are known only now do not show that the run moved. */
export function hasMovedOn(from: Place, to: Place): boolean {
  return (
    isMore(from.progress, to.progress) ||
    isMore(from.startedAt, to.startedAt) ||
    (from.executed !== null && isMore(from.executed, to.executed))
  );
}

function isMore(from: number | null, to: number | null): boolean {
  return to !== null && (from === null || to > from);
}

/** Whether the run is in a wait that is not notified yet. */
export function isPending(waits: Waits | null): boolean {
  return waits !== null && waits.pending !== null;
}

/** When the next poll is due at the latest for a wait that is not notified yet; Infinity for none. */
export function nextWaitPoll(waits: Waits | null, now: number): number {
  if (waits === null || waits.pending === null) return Infinity;
  return Math.min(now + POLL_EVERY_MS, waits.pending.since + LASTS_MS);
}

interface WaitContext {
  now: number;
  nodes: RunNodes | null;
  isConsistent: boolean;
  /** The transitions between the snapshots. */
  types: readonly EventType[];
  /** The doubt with which the poll disagrees; null for none. */
  disagreesWith: Doubt | null;
}

/** What a poll makes of the waits of its run. */
interface WaitStep {
  waits: Waits | null;
  /** The transitions to notify. */
  types: readonly EventType[];
  /** Whether the run is in the state of before: where it waits, in the same wait. */
  goesOn: boolean;
}

const ENTRY = 'run.awaiting_human_feedback';

/**
 * Follows a run into and out of waits. Where it has not moved on, a lagging replica may only make it
 * look like another entry: after the first few within ten minutes, one is notified once the run has
 * waited for a minute. A wait that was not notified ends without `run.resumed`.
 */
export function followWaits(
  { run: before, waits, waiting }: Pick<Watch, 'run' | 'waits' | 'waiting'>,
  run: RunSnapshot,
  context: WaitContext,
): WaitStep {
  const { nodes } = context;
  if (!isAwaiting(run.status)) {
    return { ...left(waits, context.types), goesOn: before?.status === run.status };
  }
  // A wait by another name is the same one unless the run has moved on.
  const isSame =
    before !== null &&
    isAwaiting(before.status) &&
    !hasMovedOn(waitedAt(before, waits), placeOf(run, nodes));
  const types = isSame ? without(context.types, ENTRY) : context.types;
  if (types.includes(ENTRY)) {
    const next = entered(waits, run, { ...context, isAgain: false, isSure: true });
    return { waits: next, goesOn: false, types: isPending(next) ? without(types, ENTRY) : types };
  }
  if (waits === null) return { waits, types, goesOn: true };
  return waitsOn(waits, waiting, run, { ...context, types });
}

/** Where a run stood as it waited. */
export function waitedAt(run: RunSnapshot, waits: Waits | null): Place {
  return { ...placeOf(run, null), executed: waits?.place.executed ?? null };
}

/** The run is in the same wait, or was out of it so shortly that one poll alone shows that. */
function waitsOn(
  waits: Waits,
  waiting: Watch['waiting'],
  run: RunSnapshot,
  context: WaitContext,
): WaitStep {
  const { types, now, isConsistent, disagreesWith } = context;
  const isDoubtful =
    disagreesWith !== null && disagreesWith.since - (waiting?.since ?? 0) >= LAG_MS;
  const isAgain = waits.pending?.isAgain ?? true;
  const next = isDoubtful
    ? entered(waits, run, { ...context, isAgain, isSure: isConsistent })
    : lasting(waits, now);
  const isNotified = !isPending(next) && (isDoubtful || isPending(waits));
  if (!isNotified) return { waits: next, types, goesOn: true };
  const ended: EventType[] = isAgain ? ['run.resumed'] : [];
  return { waits: next, goesOn: !isAgain, types: [...ended, ...types, ENTRY] };
}

function left(waits: Waits | null, types: readonly EventType[]): Omit<WaitStep, 'goesOn'> {
  const pending = waits?.pending ?? null;
  if (waits === null || pending === null) return { waits, types };
  const notified = pending.isAgain ? types : without(types, 'run.resumed');
  return { waits: { ...waits, pending: null }, types: notified };
}

function without(types: readonly EventType[], type: EventType): readonly EventType[] {
  return types.filter((one) => one !== type);
}

/** @param isSure false where polls contradict one another on whether the run left the wait before */
function entered(
  before: Waits | null,
  run: RunSnapshot,
  {
    now,
    nodes,
    isConsistent,
    isAgain,
    isSure,
  }: Omit<WaitContext, 'types'> & { isAgain: boolean; isSure: boolean },
): Waits {
  const here = placeOf(run, nodes);
  const same = before === null || hasMovedOn(before.place, here) ? null : before;
  const recent = (same?.notifiedAt ?? []).filter((at) => now - at < WITHIN_MS);
  const executed = same?.place.executed ?? here.executed;
  const place = { ...(same?.place ?? here), executed };
  const atOnce = isConsistent ? NOTIFIED_AT_ONCE : NOTIFIED_WHERE_INCONSISTENT;
  return isSure && recent.length < atOnce
    ? { place, notifiedAt: [...recent, now], pending: null }
    : { place, notifiedAt: recent, pending: { since: now, isAgain } };
}

/** An entry that lasts is notified. */
function lasting(waits: Waits, now: number): Waits {
  if (waits.pending === null || now - waits.pending.since < LASTS_MS) return waits;
  const notifiedAt = [...waits.notifiedAt, now].slice(-NOTIFIED_AT_ONCE);
  return { ...waits, notifiedAt, pending: null };
}

/**
 * The wait of a run after a poll that found this status; null where it does not wait.
 * @param waiting its wait in the same status before; null where it did not wait
 */
export function waitingAfter(waiting: Waiting | null, status: string, now: number): Waiting | null {
  if (!isAwaiting(status)) return null;
  return waiting ?? { since: now, reminders: 0, reminderId: null };
}

/**
 * The reminder that is due, if any. When several came due while no poll ran, only the last is sent.
 * @param afterMs delays of the reminders from the start of the wait, ms, ascending
 */
export function dueReminders(
  waiting: Waiting | null,
  afterMs: readonly number[],
  now: number,
): EventDraft[] {
  if (waiting === null) return [];
  const waited = now - waiting.since;
  const reminder = afterMs.filter((ms) => waited >= ms).length;
  if (reminder <= waiting.reminders) return [];
  return [{ type: 'run.awaiting_human_feedback', details: { reminder, waited_ms: waited } }];
}

/** When the next reminder is due. @returns milliseconds since the epoch, Infinity for never */
export function nextReminderAt(waiting: Waiting | null, afterMs: readonly number[]): number {
  return waiting === null ? Infinity : waiting.since + (afterMs[waiting.reminders] ?? Infinity);
}

/** What an event says of the wait that it ends. */
export function waitEnded(
  waiting: Waiting | null,
  type: EventType,
  now: number,
): EventDetails | undefined {
  if (waiting === null || (type !== 'run.resumed' && !isTerminalEvent(type))) return undefined;
  return { waited_ms: now - waiting.since };
}

/** Whether a run is, after a poll, in the wait in which discovery found it: its first poll showed that wait. */
export function isStillFoundWaiting(
  { run: before, foundWaiting }: Pick<Watch, 'run' | 'foundWaiting'>,
  { status }: Pick<RunSnapshot, 'status'>,
  types: readonly EventType[],
): boolean {
  return foundWaiting && isAwaiting(status) && (before === null || !types.includes(ENTRY));
}

/**
 * The deliveries of a poll without those that the notice of a list stands for: of the wait in which discovery
 * found the run, to configured endpoints. Webhooks of watches get it.
 */
export function withoutFoundWait(
  before: Pick<Watch, 'run' | 'foundWaiting'>,
  deliveries: Delivery[],
): Delivery[] {
  if (!before.foundWaiting || before.run !== null) return deliveries;
  return deliveries.filter(({ eventType, endpoint }) => eventType !== ENTRY || isWebhook(endpoint));
}

/** True for the event that a run began to wait, which reminders repeat. */
export function isEntry({ type, data }: RunwatchEvent): boolean {
  return type === 'run.awaiting_human_feedback' && data.reminder === undefined;
}

/**
 * Whether an event of awaiting feedback is outdated: the run no longer waits where it did, or a
 * later reminder exists.
 */
export function isOldNotice(
  { notice, waiting }: { notice: { eventId: string } | null; waiting: Waiting | null },
  eventId: string,
): boolean {
  return notice?.eventId !== eventId && waiting?.reminderId !== eventId;
}

/** The wait with the reminder among these events, if any. */
export function reminded(
  waiting: Waiting | null,
  events: readonly RunwatchEvent[],
): Waiting | null {
  const reminder = events.find(({ data }) => data.reminder !== undefined);
  if (waiting === null || reminder?.data.reminder === undefined) return waiting;
  return { ...waiting, reminders: reminder.data.reminder, reminderId: reminder.id };
}
