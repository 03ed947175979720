import { createHash } from 'node:crypto';
import type { EndpointConfig } from '../../config/schema.ts';
import type { AuditRecord } from '../../core/audit.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { Process } from '../../process.ts';
import type { Sealer } from './seal.ts';
import { deriveEndpointSecret, generateSecret } from './sign.ts';

/** For how long a replaced secret signs too, unless a rotation says otherwise, ms. */
export const DEFAULT_OVERLAP_MS = 86_400_000;

/** The longest that a rotation may say, ms. */
export const LONGEST_OVERLAP_MS = 7 * 86_400_000;

/** The most secrets that sign at a time: each adds a signature to every webhook. */
const MOST_SECRETS = 3;

/** How old the cache of rotations may be, ms. */
const REFRESH_MS = 2_000;

/** How the secret of an endpoint is replaced. */
export interface RotateOptions {
  /** How long the current secret still signs, ms. */
  overlapMs: number;
  /** Ends all others at once, also before their promised time. */
  now: boolean;
}

/** Reads and rotates the secrets of configured endpoints; those of another kind than `webhook` sign nothing. */
export class EndpointSecrets {
  private readonly known: RotationCache;

  /** @param generate makes a secret */
  constructor(
    private readonly process: Process,
    private readonly generate: () => string = generateSecret,
  ) {
    this.known = new RotationCache(process);
  }

  /**
   * The secrets that sign for a configured webhook now, the newest first. A rotation made by another
   * process shows within {@link REFRESH_MS}. Most calls need no round trip.
   * Throws RunwatchError `sealed_by_unknown_key`, `sealed_value_corrupt`, or what the store throws.
   */
  async effective(name: string): Promise<readonly string[]> {
    const { current, replaced } = this.signing(name, await this.known.get(name));
    return [current, ...replaced.map(({ secret }) => secret)];
  }

  /**
   * The secret that signs for an endpoint without one of its own.
   * Throws RunwatchError `not_signed` for kinds without a secret, `secret_not_derived` where its own was
   * configured or made by a rotation: that one is shown nowhere.
   * @returns null when there is no such endpoint
   */
  async derived(name: string): Promise<string | null> {
    const endpoint = this.endpointOf(name);
    if (endpoint === undefined) return null;
    refuseUnlessSigned(endpoint);
    const { current } = this.signing(name, await this.known.get(name));
    const derived = this.derivedOf(name);
    if (current === derived) return derived;
    throw new RunwatchError(
      'its secret was configured or made by a rotation, and is shown nowhere',
      { code: 'secret_not_derived' },
    );
  }

  /**
   * Makes a new secret, which signs from now on. The others sign beside it, each until its promised
   * time, so a repeated call breaks no receiver. With an overlap of 0 other processes may sign with the
   * previous secret for another {@link REFRESH_MS}.
   * Throws RunwatchError `not_signed` for kinds without a secret, `invalid_overlap`,
   * `too_many_secrets` where {@link MOST_SECRETS} sign already.
   * @returns the new secret, which is shown nowhere else, and when the last of the others ends (null
   *   where none signs on); null when there is no such endpoint
   */
  async rotate(
    name: string,
    options: RotateOptions,
    audit: AuditRecord | null = null,
  ): Promise<{ secret: string; previousExpiresAt: number | null } | null> {
    const endpoint = this.endpointOf(name);
    if (endpoint === undefined) return null;
    refuseUnlessSigned(endpoint);
    refuseUnlessPossible(options);
    for (;;) {
      const rotation = await this.tryToRotate(name, options, audit);
      if (rotation === null) continue;
      this.known.forget();
      return { secret: rotation.current, previousExpiresAt: lastEnd(rotation.replaced) };
    }
  }

  private async tryToRotate(
    name: string,
    options: RotateOptions,
    audit: AuditRecord | null,
  ): Promise<Rotation | null> {
    const { secrets, stores, now } = this.process;
    const before = await stores.endpointSecrets.get(name);
    const present = before === null ? this.signing(name, null) : this.presentOf(name, before);
    const after: Rotation = {
      current: this.generate(),
      replaced: present === null || options.now ? [] : signOn(present, options.overlapMs, now()),
      configured: fingerprintOf(this.ownOf(name)),
    };
    const sealed = secrets.sealer.seal(after, name);
    const isWritten = await stores.endpointSecrets.replace(name, before, sealed, audit);
    return isWritten ? after : null;
  }

  /** Null when the key is lost: then nothing signs until a new secret is made. */
  private presentOf(name: string, text: string): SigningSecrets | null {
    try {
      return this.signing(name, openRotation(this.process.secrets.sealer, name, text));
    } catch (error) {
      if (error instanceof RunwatchError) return null;
      throw error;
    }
  }

  private signing(name: string, rotation: Rotation | null): SigningSecrets {
    return signingSecrets(rotation, {
      own: this.ownOf(name),
      fallback: this.derivedOf(name),
      now: this.process.now(),
    });
  }

  /** The secret that is configured for the endpoint; null where none is. */
  private ownOf(name: string): string | null {
    const endpoint = this.endpointOf(name);
    return endpoint !== undefined && 'secret' in endpoint ? (endpoint.secret ?? null) : null;
  }

  /** What signs for endpoints without a secret of their own. */
  private derivedOf(name: string): string {
    return deriveEndpointSecret(this.process.secrets.signingSecret, name);
  }

  private endpointOf(name: string): EndpointConfig | undefined {
    const { all } = this.process.endpoints;
    return Object.hasOwn(all, name) ? all[name] : undefined;
  }
}

/**
 * What signs beside a new secret: what signed until now for the overlap, the others as promised.
 * Throws RunwatchError `too_many_secrets`.
 */
function signOn(
  { current, replaced }: SigningSecrets,
  overlapMs: number,
  now: number,
): ReplacedSecret[] {
  const kept = overlapMs === 0 ? [] : [{ secret: current, until: now + overlapMs }];
  if (kept.length + replaced.length < MOST_SECRETS) return [...kept, ...replaced];
  const next = new Date(Math.min(...replaced.map(({ until }) => until))).toISOString();
  throw new RunwatchError(
    `${MOST_SECRETS} secrets sign already, each for as long as was promised; the next can be made at ${next}, or with "now": true, which ends the old ones at once`,
    { code: 'too_many_secrets' },
  );
}

function lastEnd(replaced: readonly ReplacedSecret[]): number | null {
  return replaced.length === 0 ? null : Math.max(...replaced.map(({ until }) => until));
}

function refuseUnlessSigned({ type }: { type: string }): void {
  if (type === 'webhook') return;
  throw new RunwatchError(`an endpoint of type ${type} signs nothing`, { code: 'not_signed' });
}

function refuseUnlessPossible({ overlapMs }: RotateOptions): void {
  if (!(overlapMs >= 0 && overlapMs <= LONGEST_OVERLAP_MS)) {
    const message = 'the old secret can go on signing for 0 to 7 days';
    throw new RunwatchError(message, { code: 'invalid_overlap' });
  }
}

/** A cache of all rotations; each is decrypted once. */
class RotationCache {
  private texts: Promise<Map<string, string>> | null = null;
  private readAt = -Infinity;
  private readonly opened = new Map<string, { text: string; rotation: Rotation }>();

  constructor(private readonly process: Process) {}

  forget(): void {
    this.texts = null;
  }

  async get(name: string): Promise<Rotation | null> {
    const text = (await this.read()).get(name);
    if (text === undefined) return null;
    const before = this.opened.get(name);
    if (before?.text === text) return before.rotation;
    const rotation = openRotation(this.process.secrets.sealer, name, text);
    this.opened.set(name, { text, rotation });
    return rotation;
  }

  private read(): Promise<Map<string, string>> {
    const { now, stores } = this.process;
    // A clock that was set back must not extend the life of the cache.
    const age = Math.abs(now() - this.readAt);
    if (this.texts !== null && age < REFRESH_MS) return this.texts;
    this.readAt = now();
    const reading = stores.endpointSecrets.all();
    this.texts = reading;
    // After an error the next call reads again.
    reading.catch(() => {
      if (this.texts === reading) this.texts = null;
    });
    return reading;
  }
}

/** A secret that signs beside the current one until a promised time, ms since the epoch. */
interface ReplacedSecret {
  secret: string;
  until: number;
}

/** The state of an endpoint's rotated secret. */
interface Rotation {
  current: string;
  /** The newest first. */
  replaced: ReplacedSecret[];
  /** Fingerprint of the secret that was configured when it was made; null where there was none. */
  configured: string | null;
}

type SigningSecrets = Pick<Rotation, 'current' | 'replaced'>;

/** Reads a rotation, which is sealed for its endpoint. Throws RunwatchError of {@link Sealer.open}. */
function openRotation(sealer: Sealer, endpoint: string, text: string): Rotation {
  return sealer.open(text, endpoint) as Rotation;
}

/** A hash that identifies a secret without revealing it. */
function fingerprintOf(secret: string | null): string | null {
  return secret === null ? null : createHash('sha256').update(secret).digest('hex');
}

/**
 * The secret that signs now, and those that it replaced and that still sign. A secret that was
 * configured after the rotation wins over what the rotation gave. What it replaced signs on until its
 * promised time all the same. One that was configured by copying what the rotation gave changes nothing.
 * @param own the secret that is configured for the endpoint; null where none is
 * @param fallback what signs for endpoints without a secret of their own
 */
function signingSecrets(
  rotation: Rotation | null,
  { own, fallback, now }: { own: string | null; fallback: string; now: number },
): SigningSecrets {
  const stands =
    rotation !== null && (rotation.configured === fingerprintOf(own) || rotation.current === own);
  const current = stands ? rotation.current : (own ?? fallback);
  const promised = (rotation?.replaced ?? []).filter(({ until }) => now < until);
  return { current, replaced: promised.filter(({ secret }) => secret !== current) };
}
