import { createHash } from 'node:crypto';
import type { Sealer } from './seal.ts';

/** A secret that signs beside the current one until a time that was promised, ms since the epoch. */
export interface ReplacedSecret {
  secret: string;
  until: number;
}

/** What the rotations of an endpoint's secret have come to. */
export interface Rotation {
  current: string;
  /** The newest first. */
  replaced: ReplacedSecret[];
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
 * The secret that signs now, and those that it replaced and that still sign. A secret that was
 * configured after the rotation wins; one that was configured by copying what the rotation gave
 * changes nothing.
 * @param own the secret that is configured for the endpoint; null where none is
 * @param fallback what signs for endpoints without a secret of their own
 */
export function signingSecrets(
  rotation: Rotation | null,
  { own, fallback, now }: { own: string | null; fallback: string; now: number },
): Pick<Rotation, 'current' | 'replaced'> {
  const stands =
    rotation !== null && (rotation.configured === fingerprintOf(own) || rotation.current === own);
  if (!stands) return { current: own ?? fallback, replaced: [] };
  const { current, replaced } = rotation;
  return { current, replaced: replaced.filter(({ until }) => now < until) };
}
