import { createHash } from 'node:crypto';

/**
 * Names what a delivery goes to: a configured endpoint by its name, a webhook of a watch by
 * `<origin>/…#<hash of its URL>`. A webhook's path and query are secrets, so they stand nowhere but in
 * the sealed part of its subscription.
 */
export type Receiver = string;

/** What counters and metrics call all webhooks of watches together. */
export const PER_WATCH = 'per-watch';

const HASH_DIGITS = 32;
/** As many digits as users see, and type. */
const SHOWN_DIGITS = 6;
const MARK = '/…#';

/** The receiver behind a URL; two spellings of one URL are the same receiver. */
export function webhookReceiver(url: string): Receiver {
  const { origin, href } = new URL(url);
  const hash = createHash('sha256').update(href).digest('hex');
  return `${origin}${MARK}${hash.slice(0, HASH_DIGITS)}`;
}

export function isWebhook(receiver: Receiver): boolean {
  return receiver.includes(MARK);
}

/** The scheme, host and port of a webhook of a watch; null for configured endpoints. */
export function originOf(receiver: Receiver): string | null {
  const end = receiver.indexOf(MARK);
  return end < 0 ? null : receiver.slice(0, end);
}

/** What shares slots with a receiver: itself, or for a webhook of a watch all those of its origin. */
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

/** What a user may give for a receiver, as users see it: a name, the masked form, or a whole URL. */
export function askedReceiver(text: string): string {
  const isMasked = new RegExp(`^https?://[^/]+${MARK}[0-9a-f]{${SHOWN_DIGITS}}$`).test(text);
  const isUrl = /^https?:\/\//i.test(text) && URL.canParse(text);
  return isUrl && !isMasked ? maskedUrl(text) : text;
}

/** A URL that is a secret, as users see it. */
export function maskedUrl(url: string): string {
  return shownReceiver(webhookReceiver(url));
}

/** The name under which a delivery is counted: webhooks of watches together, or counters grow. */
export function countedReceiver(receiver: Receiver): string {
  return isWebhook(receiver) ? PER_WATCH : receiver;
}
