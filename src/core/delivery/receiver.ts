import { createHash } from 'node:crypto';

/**
 * Names the target of a delivery: a configured endpoint by its name, a per-watch webhook as
 * `<origin>/…#<hash of its URL>@<source>`. A webhook's path and query are secrets, so only the sealed
 * part of its subscription holds them. Health belongs to a receiver: that of one source's deliveries must
 * not hold up those of another at the same URL.
 */
export type Receiver = string;

/** The one label under which counters and metrics put all per-watch webhooks. */
export const PER_WATCH = 'per-watch';

const HASH_DIGITS = 32;
/** Hash digits that users see and type. */
const SHOWN_DIGITS = 6;
const MARK = '/…#';
const SOURCE_MARK = '@';

/** The receiver of a URL for the watches of a source; two spellings of one URL give the same. */
export function webhookReceiver(url: string, source: string): Receiver {
  return receiverAt(hashedUrl(url), source);
}

/** The receiver at a {@link urlOf} for the watches of a source. */
export function receiverAt(hashed: string, source: string): Receiver {
  return `${hashed}${SOURCE_MARK}${source}`;
}

function hashedUrl(url: string): string {
  const { origin, href } = new URL(url);
  const hash = createHash('sha256').update(href).digest('hex');
  return `${origin}${MARK}${hash.slice(0, HASH_DIGITS)}`;
}

/** The hashed URL of a per-watch webhook, which several sources may share; else the name. */
export function urlOf(receiver: Receiver): string {
  const end = receiver.indexOf(SOURCE_MARK);
  return end < 0 ? receiver : receiver.slice(0, end);
}

export function isWebhook(receiver: Receiver): boolean {
  return receiver.includes(MARK);
}

/** The scheme, host and port of a per-watch webhook; null for configured endpoints. */
export function originOf(receiver: Receiver): string | null {
  const end = receiver.indexOf(MARK);
  return end < 0 ? null : receiver.slice(0, end);
}

/**
 * The pool from which a receiver takes slots: its own, or for per-watch webhooks that of their
 * origin.
 */
export function poolOf(receiver: Receiver): string {
  return originOf(receiver) ?? receiver;
}

/** True for a pool that several webhooks share. */
export function isOrigin(pool: string): boolean {
  return /^https?:\/\//.test(pool);
}

/** A receiver as users see it: the name, or `https://hooks.example/…#3f9a1c`. */
export function shownReceiver(receiver: Receiver): string {
  const start = receiver.indexOf(MARK);
  return start < 0 ? receiver : receiver.slice(0, start + MARK.length + SHOWN_DIGITS);
}

/** The receiver that a user means by a name, a masked URL, or a whole URL. */
export function askedReceiver(text: string): string {
  const isMasked = new RegExp(`^https?://[^/]+${MARK}[0-9a-f]{${SHOWN_DIGITS}}$`).test(text);
  const isUrl = /^https?:\/\//i.test(text) && URL.canParse(text);
  return isUrl && !isMasked ? maskedUrl(text) : text;
}

/** A secret URL as users see it. */
export function maskedUrl(url: string): string {
  return shownReceiver(hashedUrl(url));
}

/**
 * The name under which a delivery is counted: all per-watch webhooks share one, to bound the
 * labels.
 */
export function countedReceiver(receiver: Receiver): string {
  return isWebhook(receiver) ? PER_WATCH : receiver;
}

/**
 * Receivers of one origin that were throttled or unreachable, in a row without a 2xx between. Only
 * when several of them agree does the origin itself count as failing.
 */
export interface OriginTrouble {
  receivers: readonly string[];
  /** Pauses in a row. */
  pauses: number;
  /** Until when the last pause lasts, ms since the epoch. */
  pausedUntil: number;
}

export const NO_TROUBLE: OriginTrouble = { receivers: [], pauses: 0, pausedUntil: 0 };

/**
 * Receivers of an origin that get nothing for some ms. The others of the origin go on, one delivery at a
 * time each: receivers of one user must not silence those of all others at a host.
 */
export interface OriginPause {
  receivers: readonly string[];
  ms: number;
}

const AGREEING = 3;
const FIRST_PAUSE_MS = 10_000;
const LONGEST_PAUSE_MS = 300_000;

/** What a result of one receiver shows about its origin. */
export type OriginSign =
  | { kind: 'well' }
  /** `askedMs`: the quiet that it asked for; null where it gave none. */
  | { kind: 'trouble'; askedMs: number | null }
  | { kind: 'none' };

/** The state of the origin after a result, and which receivers are paused by it; null for none. */
export function afterOriginSign(
  before: OriginTrouble,
  { receiver, sign, now }: { receiver: string; sign: OriginSign; now: number },
): { trouble: OriginTrouble; pause: OriginPause | null } {
  const { pausedUntil } = before;
  if (sign.kind === 'none') return { trouble: before, pause: null };
  if (sign.kind === 'well') return { trouble: { ...NO_TROUBLE, pausedUntil }, pause: null };
  // One more of them: that makes no longer pause.
  if (now < pausedUntil) {
    return { trouble: before, pause: { receivers: [receiver], ms: pausedUntil - now } };
  }
  const receivers = [...new Set([...before.receivers, receiver])];
  if (receivers.length < AGREEING) return { trouble: { ...before, receivers }, pause: null };
  const ms = Math.min(
    sign.askedMs ?? FIRST_PAUSE_MS * 2 ** Math.min(before.pauses, 8),
    LONGEST_PAUSE_MS,
  );
  const trouble = { receivers: [], pauses: before.pauses + 1, pausedUntil: now + ms };
  return { trouble, pause: { receivers, ms } };
}
