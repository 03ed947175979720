import { isTerminalEvent } from './event.ts';
import type { EventDetails, EventType, News, RunwatchEvent } from './event.ts';
import { isAwaiting } from './run.ts';

/** A run that waits for a human, and what was told of that. Times are milliseconds since the epoch. */
export interface Waiting {
  /** When it was first seen to wait: Noxus does not say when a pause began. */
  since: number;
  /** The number of the last reminder; 0 before the first. */
  reminders: number;
  /** The event of that reminder. */
  reminderId: string | null;
}

/**
 * How a run waits after a poll that finds it in a status; null where it does not.
 * @param waiting how it waited in the same status before; null where it did not
 */
export function waitingAfter(waiting: Waiting | null, status: string, now: number): Waiting | null {
  if (!isAwaiting(status)) return null;
  return waiting ?? { since: now, reminders: 0, reminderId: null };
}

/**
 * The reminder that is due, if one is. Of several that have become due unseen only the last: who was
 * away is not reminded twice at once.
 * @param afterMs when to remind, ms after the run was seen to wait, in ascending order
 */
export function dueReminders(
  waiting: Waiting | null,
  afterMs: readonly number[],
  now: number,
): News[] {
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

/** What an event says of the waiting that it ends. */
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
 * Whether an event of awaiting feedback is news no more: the run waits no longer where it did then, or
 * it is a reminder and a later one was told.
 */
export function isOldNotice(
  { notice, waiting }: { notice: { eventId: string } | null; waiting: Waiting | null },
  eventId: string,
): boolean {
  return notice?.eventId !== eventId && waiting?.reminderId !== eventId;
}

/** The waiting with the reminder that was told of it, if one was. */
export function reminded(
  waiting: Waiting | null,
  events: readonly RunwatchEvent[],
): Waiting | null {
  const told = events.find(({ data }) => data.reminder !== undefined);
  if (waiting === null || told?.data.reminder === undefined) return waiting;
  return { ...waiting, reminders: told.data.reminder, reminderId: told.id };
}
