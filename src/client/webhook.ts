import { isUtf8 } from 'node:buffer';
import { Webhook } from 'standardwebhooks';
import { messageOf, RunwatchError } from '../core/errors.ts';
import { EVENT_TYPES, type EventType, type SentEventType } from '../core/event/event.ts';
import type { EventView } from './types.ts';

/*
 * For receivers of webhooks: `import { verifyWebhook } from 'runwatchd/webhook'`.
 */

export { RunwatchError } from '../core/errors.ts';
export type { EventType } from '../core/event/event.ts';

/** What all webhooks have. */
interface Envelope<Type extends string, Data> {
  /** Belongs to the change: a repeat has the same, and receivers drop it. */
  id: string;
  type: Type;
  timestamp: string;
  data: Data;
}

/** A change of a run or of its watch. */
export type RunEvent = Envelope<EventType, EventView['data']>;

/** An event about runwatch itself, an alert, or a test. `data` is in the API's document, by type. */
export type OtherEvent = Envelope<Exclude<SentEventType, EventType>, Record<string, unknown>>;

export type WebhookEvent = RunEvent | OtherEvent;

/** Headers as `node:http` and frameworks on it give them, or as `fetch` does. */
export type WebhookHeaders = Headers | Readonly<Record<string, HeaderValue>>;

type HeaderValue = string | readonly string[] | undefined;

/**
 * The event of a webhook with a valid signature.
 * @param body exactly the bytes that were received, not parsed before
 * @param secrets `whsec_…`; several while one replaces another
 * @throws RunwatchError `webhook_not_verified`: answer 401, and do nothing with it;
 *   `invalid_secret` for a secret of another form
 */
export function verifyWebhook(
  body: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
): WebhookEvent {
  const bytes = Buffer.from(body);
  const problem = createVerifier([secrets].flat())(bytes, flatHeaders(headers));
  if (problem !== null) throw notVerified(problem);
  const event = parseEvent(bytes.toString());
  if (event === null) throw notVerified('the body is not an event');
  return event;
}

/** Whether an event is about a run, so that its `data` is fully typed. */
export function isRunEvent(event: WebhookEvent): event is RunEvent {
  return EVENT_TYPES.some((type) => type === event.type);
}

function notVerified(why: string): RunwatchError {
  return new RunwatchError(`the webhook is not verified: ${why}`, { code: 'webhook_not_verified' });
}

const NEEDED_HEADERS = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const;

function flatHeaders(headers: WebhookHeaders): Record<string, string> {
  const valueOf = (name: string): string => {
    if (headers instanceof Headers) return headers.get(name) ?? '';
    return [headers[name] ?? []].flat().join(', ');
  };
  return Object.fromEntries(NEEDED_HEADERS.map((name) => [name, valueOf(name)]));
}

function parseEvent(text: string): WebhookEvent | null {
  try {
    const event = JSON.parse(text) as Partial<WebhookEvent> | null;
    const isEvent = typeof event?.id === 'string' && typeof event.type === 'string';
    return isEvent ? (event as WebhookEvent) : null;
  } catch {
    return null;
  }
}

/** Returns the reason why a webhook is not verified; null if it is. */
export type Verify = (body: Uint8Array, headers: Record<string, string>) => string | null;

/**
 * Verifies Standard Webhooks against any of the secrets, over the exact bytes of the body.
 * @throws RunwatchError `invalid_secret`
 */
export function createVerifier(secrets: readonly string[]): Verify {
  const webhooks = secrets.map(parseSecret);
  return (body, headers) => {
    if (webhooks.length === 0) return 'no secret to verify it with';
    // The package signs text, and would replace bytes that are not UTF-8 before it checks them.
    if (!isUtf8(body)) return 'Body is not UTF-8';
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    let problem: string | null = null;
    for (const webhook of webhooks) {
      problem = problemOf(webhook, bytes, headers);
      if (problem === null) return null;
    }
    return problem;
  };
}

function problemOf(webhook: Webhook, body: Buffer, headers: Record<string, string>) {
  try {
    webhook.verify(body, headers, { jsonParse: false });
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

function parseSecret(secret: string): Webhook {
  try {
    return new Webhook(secret);
  } catch {
    // Without the cause, which may quote the secret.
    throw new RunwatchError('a webhook secret is not "whsec_" followed by base64', {
      code: 'invalid_secret',
    });
  }
}
