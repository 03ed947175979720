import { randomBytes } from 'node:crypto';

/**
 * A version of a record that may be deleted and begun anew. It is random: versions that count would say
 * of the new record that it is the one that was read.
 */
export function newVersion(): string {
  return randomBytes(6).toString('base64url');
}
