import { createHash } from 'node:crypto';
import { isTerminalEvent, type EventType } from './event.ts';
import type { WatchKey } from './watch.ts';

/**
 * Gives marks, each another one: the store's epoch and a number. The number is drawn, not counted: a
 * counter goes back with a store that lost writes, and would name another change then.
 */
export type NewMark = () => string;

/** Digits of an epoch and of a number, of base 36. */
const DIGITS = 8;

/** Draws a whole number from 0 to below its argument. */
type Draw = (below: number) => number;

/** Eight letters and digits that nothing else has: an epoch, or the number of a mark. */
export function newName(draw: Draw): string {
  return draw(36 ** DIGITS)
    .toString(36)
    .padStart(DIGITS, '0');
}

/** A change of a watch that gets an id. */
interface WatchChangeIdentity extends WatchKey {
  type: EventType;
  registeredAt: number;
  /** Types of the ends of its run that the watch has had events of. */
  pastEnds: readonly EventType[];
}

/**
 * The id of an event of a watch. A run's end has an id that follows from the run alone, so that it is
 * the same after a store lost the event; an expiry has one that follows from the registration. Every
 * other change may happen more than once, and has a mark.
 */
export function watchEventId(change: WatchChangeIdentity, newMark: NewMark): string {
  return `evt_${changePart(change, newMark)}_${watchPart(change)}`;
}

function changePart(change: WatchChangeIdentity, newMark: NewMark): string {
  const { type, registeredAt, pastEnds } = change;
  if (type === 'watch.expired') return `expired${registeredAt.toString(36)}`;
  return isTerminalEvent(type) && !pastEnds.includes(type) ? type.slice('run.'.length) : newMark();
}

/** The id of an event that is about no run. */
export function systemEventId(newMark: NewMark): string {
  return `evt_${newMark()}`;
}

/** The id of a delivery: a function of event and endpoint, from which the event's id follows. */
export function deliveryId(eventId: string, endpoint: string): string {
  const digest = createHash('sha256').update(`${eventId}\n${endpoint}`).digest('hex');
  return `dlv_${digest.slice(0, 12)}_${eventId.slice('evt_'.length)}`;
}

const USUAL_SOURCE = 'default';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * A watch as ids name it. It can be read again, so that no index is needed to find an event by its id:
 * `[<source>~]<22 characters of a UUID>` or `[<source>~]~<run id, ~ for each dot>`. Neither part has a
 * tilde of its own, and dots separate the parts of what a webhook signs.
 */
function watchPart({ source, runId }: WatchKey): string {
  const run = UUID.test(runId)
    ? Buffer.from(runId.replaceAll('-', ''), 'hex').toString('base64url')
    : `~${runId.replaceAll('.', '~')}`;
  return source === USUAL_SOURCE ? run : `${source}~${run}`;
}
