import {
  isTerminalEvent,
  type EventDetails,
  type EventType,
  type EventDraft,
  type RunwatchEvent,
} from '../event/event.ts';
import { isAwaiting } from '../run/snapshot.ts';

/**
 * A run that waits for a human, and its reminders so far. Times are milliseconds since the epoch.
 */
export interface Waiting {
  /** When a poll first saw it wait: Noxus gives no time for the start of a pause. */
  since: number;
  /** The number of the last reminder; 0 before the first. */
  reminders: number;
  /** The event of that reminder. */
  reminderId: string | null;
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
