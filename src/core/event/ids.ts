import { createHash } from 'node:crypto';
import { batchNameKey, type Batch } from '../batch.ts';
import type { WatchKey } from '../watch/watch.ts';
import { isTerminalEvent, type BatchEventType, type EventType } from './event.ts';

/**
 * Returns a new unique mark each time: the store's epoch and a number. The number is random. A
 * counter would go back in a store that lost writes, and then name another change.
 */
export type NewMark = () => string;

/** Digits of an epoch and of a number, of base 36. */
const DIGITS = 8;

/** Draws a whole number from 0 to below its argument. */
type Draw = (below: number) => number;

/** Eight random letters and digits: an epoch, or the number of a mark. */
export function newName(draw: Draw): string {
  return draw(36 ** DIGITS)
    .toString(36)
    .padStart(DIGITS, '0');
}

/** The parts of a change from which its event's id is made. */
interface WatchChangeIdentity extends WatchKey {
  type: EventType;
  registeredAt: number;
  /** The attempt of the run; null where its source counts none. */
  attempt: number | null;
  /** Terminal event types that this attempt has already had. */
  pastEnds: readonly EventType[];
}

/**
 * The id of an event of a watch. The run and its attempt alone determine the id of a terminal event, so that
 * it is the same after a store lost the event. The registration determines the id of an expiry. Every
 * other change may happen more than once, so its id has a mark.
 */
export function watchEventId(change: WatchChangeIdentity, newMark: NewMark): string {
  return `evt_${changePart(change, newMark)}_${watchPart(change)}`;
}

function changePart(change: WatchChangeIdentity, newMark: NewMark): string {
  const { type, registeredAt, pastEnds, attempt } = change;
  if (type === 'watch.expired') return `expired${registeredAt.toString(36)}`;
  if (!isTerminalEvent(type) || pastEnds.includes(type)) return newMark();
  // Most runs have one attempt, and their ids none.
  return type.slice('run.'.length) + (attempt === null || attempt === 1 ? '' : attempt);
}

/** The id of a system event. */
export function systemEventId(newMark: NewMark): string {
  return `evt_${newMark()}`;
}

/** The id of a delivery: event and endpoint determine it, and it contains the event's id. */
export function deliveryId(eventId: string, endpoint: string): string {
  const digest = createHash('sha256').update(`${eventId}\n${endpoint}`).digest('hex');
  return `dlv_${digest.slice(0, 12)}_${eventId.slice('evt_'.length)}`;
}

/** The beginning of a delivery's id, which differs for each event and endpoint; a lookup finds the delivery by it. */
export function shortDeliveryId(id: string): string {
  return /^dlv_[0-9a-f]{12}/.exec(id)?.[0] ?? id;
}

/** The beginning of an alert's id, which differs for each group of a rule; a lookup finds the alert by it. */
export function shortAlertId(id: string): string {
  return /^alr_[0-9a-f]{8}/.exec(id)?.[0] ?? id;
}

const USUAL_SOURCE = 'default';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Ids in which only dots have to be written in another way. */
const PLAIN = /^[A-Za-z0-9][\w.-]*$/;

/**
 * The watch's part of an id: the source, if it is not the usual one, with a tilde, and the run. A run is 22
 * characters of a UUID, or a tilde and its id with a tilde for each dot, or two tildes and its id with a
 * tilde and two hexadecimal digits for each character that is no letter, digit, `_` or `-`. It can be parsed
 * back, so finding an event by id needs no index. Dots separate the parts of a signed webhook id.
 */
function watchPart({ source, runId }: WatchKey): string {
  const run = runPart(runId);
  return source === USUAL_SOURCE ? run : `${source}~${run}`;
}

function runPart(runId: string): string {
  if (UUID.test(runId)) return Buffer.from(runId.replaceAll('-', ''), 'hex').toString('base64url');
  if (PLAIN.test(runId)) return `~${runId.replaceAll('.', '~')}`;
  const escaped = runId.replaceAll(
    /[^\w-]/g,
    (character) => `~${character.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return `~~${escaped}`;
}

/** The watch that an event belongs to by its id; null for system events, and for what is no id. */
export function watchOfEvent(eventId: string): WatchKey | null {
  const part = /^evt_[0-9a-z]+_(.+)$/.exec(eventId)?.[1];
  if (part === undefined) return null;
  // The name of a source has no tilde and is not empty.
  const tilde = part.indexOf('~');
  const [source, run] =
    tilde > 0 ? [part.slice(0, tilde), part.slice(tilde + 1)] : [USUAL_SOURCE, part];
  const runId = runOf(run);
  return runId === null ? null : { source, runId };
}

/** The reverse of {@link runPart}; null for what is none. */
function runOf(run: string): string | null {
  if (run.startsWith('~~')) {
    return run
      .slice(2)
      .replaceAll(/~([0-9a-f]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      );
  }
  if (run.startsWith('~')) return run.slice(1).replaceAll('~', '.');
  const hex = Buffer.from(run, 'base64url').toString('hex');
  const parts = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(hex);
  return parts === null ? null : parts.slice(1).join('-');
}

/** The watch that a delivery belongs to by its id; null where that names none. */
export function watchOfDelivery(id: string): WatchKey | null {
  const rest = /^dlv_[0-9a-f]{12}_(.+)$/.exec(id)?.[1];
  return rest === undefined ? null : watchOfEvent(`evt_${rest}`);
}

/** The id of an event of a batch: name and creation determine it, so that each comes once. */
export function batchEventId(batch: Batch, type: BatchEventType): string {
  const about = [batchNameKey(batch), batch.id, batch.createdAt, type];
  const digest = createHash('sha256').update(JSON.stringify(about)).digest('hex');
  return `evt_${digest.slice(0, 20)}`;
}
