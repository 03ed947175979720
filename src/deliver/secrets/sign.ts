import {
  createHash,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  type KeyObject,
} from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { RunwatchError } from '../../core/errors.ts';
import type { Message } from '../channels/channel.ts';

const PREFIX = 'whsec_';
const GENERATED_BYTES = 32;

/** Makes the headers that identify and sign a message sent at a time (ms since the epoch). */
export type Signer = (
  message: Pick<Message, 'eventId' | 'body'>,
  atMs: number,
) => Record<string, string>;

/**
 * Signs by the Standard Webhooks specification: one HMAC-SHA256 per secret over id, time and body.
 * While one secret replaces another, a receiver can verify with either: `endpoint-secrets.ts` says for how long.
 * Without a secret the message carries its id and time, and no signature.
 * @throws RunwatchError `invalid_webhook_secret`
 */
export function createSigner(secrets: readonly string[]): Signer {
  const keys = secrets.map(parseSecret);
  return ({ eventId, body }, atMs) => {
    const seconds = Math.floor(atMs / 1_000);
    const signed = `${eventId}.${seconds}.${body}`;
    const signatures = keys.map((key) => `v1,${hashOf(key, signed)}`);
    return {
      'webhook-id': eventId,
      'webhook-timestamp': String(seconds),
      ...(signatures.length > 0 && { 'webhook-signature': signatures.join(' ') }),
    };
  };
}

/** Node's own: the library's is in JavaScript, and takes several times as long. */
function hashOf(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64');
}

/**
 * The key of a secret that the library accepts. Its errors may quote the secret, so they are not passed on,
 * not even as a cause.
 */
function parseSecret(secret: string): KeyObject {
  if (!secret.startsWith(PREFIX)) throw invalidSecret();
  try {
    void new Webhook(secret);
  } catch {
    throw invalidSecret();
  }
  // Made once: of bytes Node would make one for each signature.
  return createSecretKey(secret.slice(PREFIX.length), 'base64');
}

function invalidSecret(): RunwatchError {
  return new RunwatchError('a webhook secret is whsec_ followed by the base64 of 24 to 64 bytes', {
    code: 'invalid_webhook_secret',
  });
}

/**
 * The secret of a per-watch webhook that came without one. Receivers do not share it, so a captured
 * message does not verify at another receiver, and neither do the sources that one receiver serves. The
 * query is ignored, as it may change.
 * @param instanceSecret `whsec_…`
 */
export function deriveWebhookSecret(
  instanceSecret: string,
  { source, url }: { source: string; url: string },
): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  const number = port === '' ? DEFAULT_PORTS[protocol] : port;
  const receiver = `${protocol}//${hostname}:${number}${pathname}`;
  // Hashed, since `info` takes 1,024 bytes and a path may have more.
  const hash = createHash('sha256').update(receiver).digest('hex');
  return derive(instanceSecret, `runwatch webhook ${source} ${hash}`);
}

/** The secret of a configured endpoint that has none of its own. @param instanceSecret `whsec_…` */
export function deriveEndpointSecret(instanceSecret: string, name: string): string {
  return derive(instanceSecret, `runwatch endpoint ${name}`);
}

function derive(instanceSecret: string, info: string): string {
  const key = Buffer.from(instanceSecret.slice(PREFIX.length), 'base64');
  const derived = hkdfSync('sha256', key, '', info, GENERATED_BYTES);
  return PREFIX + Buffer.from(derived).toString('base64');
}

const DEFAULT_PORTS: Record<string, string> = { 'http:': '80', 'https:': '443' };

/** A new secret of 256 bits. */
export function generateSecret(): string {
  return PREFIX + randomBytes(GENERATED_BYTES).toString('base64');
}
