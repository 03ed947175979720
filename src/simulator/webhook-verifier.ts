import { isUtf8 } from 'node:buffer';
import { Webhook } from 'standardwebhooks';
import { messageOf, RunwatchError } from '../core/errors.ts';

/** Names the reason why a webhook cannot be trusted; null when it can. */
export type Verify = (body: Buffer, headers: Record<string, string>) => string | null;

/**
 * Verifies Standard Webhooks against any of the secrets, over the exact bytes of the body.
 * @throws RunwatchError `invalid_secret`
 */
export function webhookVerifier(secrets: readonly string[]): Verify {
  const webhooks = secrets.map(parseSecret);
  return (body, headers) => {
    if (webhooks.length === 0) return 'no secret to verify it with';
    // The package signs text: bytes that are not UTF-8 would be replaced before they are checked.
    if (!isUtf8(body)) return 'Body is not UTF-8';
    let problem: string | null = null;
    for (const webhook of webhooks) {
      problem = problemOf(webhook, body, headers);
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
    // The cause is left out, for it may quote the secret.
    throw new RunwatchError('a webhook secret is not "whsec_" followed by base64', {
      code: 'invalid_secret',
    });
  }
}
