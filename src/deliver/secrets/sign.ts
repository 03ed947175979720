import { hkdfSync, randomBytes } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { RunwatchError } from '../../core/errors.ts';
import type { Message } from '../channels/channel.ts';

const PREFIX = 'whsec_';
const GENERATED_BYTES = 32;

/** Makes the headers that identify and sign a message sent at a time (ms since the epoch). */
export type Signer = (message: Message, atMs: number) => Record<string, string>;

/**
 * Signs by the Standard Webhooks specification: one HMAC-SHA256 per secret over id, time and body.
 * While one secret replaces another, a receiver can verify with either.
 * Without a secret the message carries its id and time, and no signature.
 * @throws RunwatchError `invalid_webhook_secret`
 */
export function createSigner(secrets: readonly string[]): Signer {
  const keys = secrets.map(parseSecret);
  return ({ eventId, body }, atMs) => {
    const date = new Date(atMs);
    const signatures = keys.map((key) => key.sign(eventId, date, body));
    return {
      'webhook-id': eventId,
      'webhook-timestamp': String(Math.floor(atMs / 1_000)),
      ...(signatures.length > 0 && { 'webhook-signature': signatures.join(' ') }),
    };
  };
}

/** Errors of the library may quote the secret, so they are not passed on, not even as a cause. */
function parseSecret(secret: string): Webhook {
  if (secret.startsWith(PREFIX)) {
    try {
      return new Webhook(secret);
    } catch {
      throw invalidSecret();
    }
  }
  throw invalidSecret();
}

function invalidSecret(): RunwatchError {
  return new RunwatchError('a webhook secret is whsec_ followed by the base64 of 24 to 64 bytes', {
    code: 'invalid_webhook_secret',
  });
}

/**
 * The secret of a per-watch webhook that came without one. Receivers do not share it, so a captured
 * message does not verify at another receiver. The query is ignored, as it may change.
 * @param instanceSecret `whsec_…`
 */
export function deriveSecret(instanceSecret: string, url: string): string {
  const { protocol, hostname, port, pathname } = new URL(url);
  const number = port === '' ? DEFAULT_PORTS[protocol] : port;
  const key = Buffer.from(instanceSecret.slice(PREFIX.length), 'base64');
  const info = `runwatch webhook ${protocol}//${hostname}:${number}${pathname}`;
  return (
    PREFIX + Buffer.from(hkdfSync('sha256', key, '', info, GENERATED_BYTES)).toString('base64')
  );
}

const DEFAULT_PORTS: Record<string, string> = { 'http:': '80', 'https:': '443' };

/** A new secret of 256 bits. */
export function generateSecret(): string {
  return PREFIX + randomBytes(GENERATED_BYTES).toString('base64');
}
