import { InvalidArgumentError } from 'commander';
import { DURATION_HINT, parseDuration, parseIsoTime } from '../core/time.ts';
import { ALERT_STATES } from '../core/alert/alert.ts';
import { DELIVERY_STATES } from '../core/delivery/delivery.ts';
import { isOutstanding } from '../core/delivery/state.ts';
import { EVENT_TYPES, LOGGED_FAMILIES, LOGGED_TYPES } from '../core/event/event.ts';
import { isEventPattern, loggedTypes } from '../core/event/patterns.ts';
import { KNOWN_STATUSES } from '../core/run/snapshot.ts';
import { WATCH_STATES } from '../core/watch/watch.ts';

/*
 * Parsers of option values. They throw commander's InvalidArgumentError, which becomes a usage error
 * that names the option.
 */

/** Longest time that a timer of Node can wait, in whole days. */
const LONGEST_WAIT_MS = 24 * 86_400_000;

/** A duration; kept as text, as the API takes it. */
export function durationText(text: string): string {
  if (parseDuration(text) === null) throw new InvalidArgumentError(`Expected ${DURATION_HINT}.`);
  return text.trim();
}

/** A time to wait for, in milliseconds. */
export function waitTime(text: string): number {
  const ms = parseDuration(text);
  if (ms === null) throw new InvalidArgumentError(`Expected ${DURATION_HINT}.`);
  if (ms > LONGEST_WAIT_MS) throw new InvalidArgumentError('Expected 24d at most.');
  return ms;
}

/** A moment that may depend on the time of the call; both in milliseconds since the epoch. */
export type Moment = (now: number) => number;

/** A time with its zone, a day, which begins in UTC, or how long ago. */
export function moment(text: string): Moment {
  const agoMs = parseDuration(text);
  if (agoMs !== null) return (now) => Math.max(0, now - agoMs);
  const at = parseIsoTime(text);
  if (at !== null) return () => at;
  throw new InvalidArgumentError(
    'Expected a time such as 2025-05-04T10:00:00Z, a day such as 2025-05-04, or how long ago, such as 2h.',
  );
}

/** A time to come, or a duration from now; kept as text, as the API takes it. */
export function untilText(text: string): string {
  if (parseDuration(text) === null && parseIsoTime(text) === null) {
    throw new InvalidArgumentError(
      'Expected a duration from now such as 2h, or a time such as 2025-05-04T10:00:00Z.',
    );
  }
  return text.trim();
}

export function positiveInteger(text: string): number {
  const value = Number(text);
  if (/^\d{1,9}$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError('Expected a whole number from 1.');
}

/** Statuses of runs, separated by commas. */
export const knownStatuses = severalOf('run', KNOWN_STATUSES);

/** States of watches, separated by commas. */
export const watchStates = severalOf('watch', WATCH_STATES);

/** States of deliveries as users name them. */
export const DELIVERY_STATE_WORDS = [...DELIVERY_STATES, 'waiting'] as const;

const deliveryStateWords = severalOf('delivery', DELIVERY_STATE_WORDS);

/** States of deliveries, separated by commas; `waiting` stands for those that are still to be attempted. */
export function deliveryStates(text: string): string {
  const words = deliveryStateWords(text).split(',');
  const meant = words.flatMap((word) =>
    word === 'waiting' ? DELIVERY_STATES.filter(isOutstanding) : [word],
  );
  return [...new Set(meant)].join(',');
}

/** States of alerts, separated by commas. */
export const alertStates = severalOf('alert', ALERT_STATES);

/** Reads words separated by commas, in any case; kept as text, as the API takes it. */
function severalOf(subject: string, known: readonly string[]): (text: string) => string {
  return (text) => {
    const words = text.split(',').map((one) => one.trim().toLowerCase());
    const unknown = words.find((one) => !known.includes(one));
    if (unknown === undefined) return words.join(',');
    throw new InvalidArgumentError(
      `No ${subject} is ever "${unknown}". Expected ${known.join(', ')}.`,
    );
  };
}

export function portNumber(text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value <= 65_535) return value;
  throw new InvalidArgumentError('Expected a port from 0 to 65535.');
}

/** Collects a flag that may be given many times. */
export function collect(text: string, collected: string[] = []): string[] {
  return [...collected, text];
}

/** An event type, a family such as `run.*`, or `*`; may be given many times. */
export function collectPattern(text: string, collected: string[] = []): string[] {
  if (isEventPattern(text)) return [...collected, text];
  throw new InvalidArgumentError(
    `No event is ever of this type. Types are ${EVENT_TYPES.join(', ')}; run.*, watch.* and * stand for many.`,
  );
}

/** Event types and families such as `run.*`, separated by commas; kept as text, as the API takes it. */
export function eventTypes(text: string): string {
  const patterns = text.split(',').map((one) => one.trim());
  const unknown = patterns.find((pattern) => loggedTypes([pattern]).length === 0);
  if (unknown === undefined) return patterns.join(',');
  throw new InvalidArgumentError(
    `No event is ever of the type ${unknown}. Types are ${LOGGED_TYPES.join(', ')}; ${LOGGED_FAMILIES.join(', ')} stand for many.`,
  );
}

/** `key=value`; may be given many times. */
export function collectPair(
  text: string,
  collected: Record<string, string> = {},
): Record<string, string> {
  const equals = text.indexOf('=');
  if (equals < 1) throw new InvalidArgumentError('Expected key=value.');
  return { ...collected, [text.slice(0, equals)]: text.slice(equals + 1) };
}
