import { join } from 'node:path';
import { webhookSecret } from '../config/endpoint-fields.ts';
import { generateSecret } from '../deliver/sign.ts';
import { keepSecret } from './kept-secret.ts';

export interface SigningSecret {
  secret: string;
  /** Where it is kept; null when it was configured. */
  path: string | null;
}

/**
 * The secret that signs webhooks which have none of their own: the configured one, else one that is
 * made at the first start and kept in the data directory.
 * Throws RunwatchError of {@link keepSecret}.
 */
export async function loadSigningSecret(
  dataDir: string,
  configured: string | undefined,
): Promise<SigningSecret> {
  if (configured !== undefined) return { secret: configured, path: null };
  const path = join(dataDir, 'signing-secret');
  const secret = await keepSecret({
    path,
    generate: generateSecret,
    isValid: (text) => webhookSecret.safeParse(text).success,
    expected: 'whsec_ followed by the base64 of 24 to 64 bytes',
    loss: 'the next start makes another one, which receivers have to be given',
    variable: 'RUNWATCH_SIGNING_SECRET',
  });
  return { secret, path };
}
