import { createHash } from 'node:crypto';
import type { Sealer } from './seal.ts';

/** A rotation of an endpoint's secret. */
export interface Rotation {
  current: string;
  /** What signed before; null where nothing else signs any more. */
  previous: string | null;
  /** Until when the previous one signs too, ms since the epoch. */
  previousExpiresAt: number | null;
  /** Fingerprint of the secret that was configured when it was made; null where there was none. */
  configured: string | null;
}

/** Writes a rotation as it is stored: the text of a sealed value that opens for its endpoint only. */
export function sealRotation(sealer: Sealer, endpoint: string, rotation: Rotation): string {
  return sealer.seal(rotation, endpoint);
}

/** The reverse of {@link sealRotation}. Throws RunwatchError of {@link Sealer.open}. */
export function openRotation(sealer: Sealer, endpoint: string, text: string): Rotation {
  return sealer.open(text, endpoint) as Rotation;
}

/** What tells one secret from another without giving it away. */
export function fingerprintOf(secret: string | null): string | null {
  return secret === null ? null : createHash('sha256').update(secret).digest('hex');
}

/**
 * The secrets that sign now, the newest first. A secret that was configured after the rotation wins;
 * one that was configured by copying what the rotation gave changes nothing.
 * @param own the secret that is configured for the endpoint; null where none is
 * @param fallback what signs for endpoints without a secret of their own
 */
export function effectiveSecrets(
  rotation: Rotation | null,
  { own, fallback, now }: { own: string | null; fallback: string; now: number },
): string[] {
  const stands =
    rotation !== null && (rotation.configured === fingerprintOf(own) || rotation.current === own);
  if (!stands) return [own ?? fallback];
  const { current, previous, previousExpiresAt } = rotation;
  const overlaps = previous !== null && previousExpiresAt !== null && now < previousExpiresAt;
  return overlaps ? [current, previous] : [current];
}
