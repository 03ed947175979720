import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { decodeEncryptionKey } from '../config/encryption-key.ts';
import { SEALING_KEY_BYTES, type SealingKeys } from '../deliver/seal.ts';
import { keepSecret, readKeptSecret, type KeptSecret } from './kept-secret.ts';

export interface EncryptionKeys {
  /** The first encrypts, all decrypt. */
  keys: SealingKeys;
  /** Where one of them is kept; null when all were configured. */
  path: string | null;
}

/**
 * The keys that encrypt what must not lie in Redis in clear: the configured ones, else one that is
 * made at the first start and kept in the data directory. A kept one goes on decrypting after others
 * were configured.
 * Throws RunwatchError of {@link keepSecret}.
 */
export async function loadEncryptionKeys(
  dataDir: string,
  configured: readonly string[],
): Promise<EncryptionKeys> {
  const file = keptKey(join(dataDir, 'encryption-key'));
  const { path } = file;
  const [first, ...others] = configured;
  if (first === undefined) return { keys: [await keepSecret(file)], path };
  const kept = readKeptSecret(file);
  return kept === null
    ? { keys: [first, ...others], path: null }
    : { keys: [first, ...others, kept], path };
}

/** The keys that are at hand without making one. Throws RunwatchError of {@link readKeptSecret}. */
export function presentEncryptionKeys(dataDir: string, configured: readonly string[]): string[] {
  const kept = readKeptSecret(keptKey(join(dataDir, 'encryption-key')));
  return kept === null ? [...configured] : [...configured, kept];
}

function keptKey(path: string): KeptSecret {
  return {
    path,
    generate: () => randomBytes(SEALING_KEY_BYTES).toString('base64'),
    isValid: (text) => decodeEncryptionKey(text) !== null,
    expected: '32 bytes in base64 or hex',
    loss: 'secrets that it encrypted are lost then and have to be given anew',
    variable: 'RUNWATCH_ENCRYPTION_KEY',
  };
}
