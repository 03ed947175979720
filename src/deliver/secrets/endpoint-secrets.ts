import { createHash } from 'node:crypto';
import type { RotateOptions } from '../../core/delivery/receiver.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { SecretStore } from '../ports.ts';
import type { Sealer } from './seal.ts';
import { deriveEndpointSecret } from './sign.ts';

/** How long a replaced secret may sign, ms. */
export const LONGEST_OVERLAP_MS = 7 * 86_400_000;

/** The most secrets that sign at a time: each adds a signature to every webhook. */
const MOST_SECRETS = 3;

/** How old the cache of rotations may be, ms. */
const REFRESH_MS = 2_000;

interface EndpointSecretsDependencies {
  store: Pick<SecretStore, 'get' | 'all' | 'replace'>;
  sealer: Sealer;
  /** The configured endpoints by name; those of another kind than `webhook` sign nothing. */
  endpoints: {
    readonly all: Readonly<Record<string, { type: string; secret?: string | undefined }>>;
  };
  /** The secrets of endpoints without one of their own are derived from it. */
  signingSecret: string;
  /** Makes a secret. */
  generate: () => string;
  now: () => number;
}

export interface EndpointSecrets {
  /**
   * The secrets that sign for a configured webhook now, the newest first. A rotation made by another
   * process shows within {@link REFRESH_MS}. Most calls need no round trip.
   * Throws RunwatchError `sealed_by_unknown_key`, `sealed_value_corrupt`, or what the store throws.
   */
  effective(name: string): Promise<readonly string[]>;
  /**
   * The secret that signs for an endpoint without one of its own.
   * Throws RunwatchError `not_signed` for kinds without a secret, `secret_not_derived` where its own was
   * configured or made by a rotation: that one is shown nowhere.
   * @returns null when there is no such endpoint
   */
  derived(name: string): Promise<string | null>;
  /**
   * Makes a new secret, which signs from now on. The others sign beside it, each until its promised
   * time, so a repeated call breaks no receiver. With an overlap of 0 other processes may sign with the
   * previous secret for another {@link REFRESH_MS}.
   * Throws RunwatchError `not_signed` for kinds without a secret, `invalid_overlap`,
   * `too_many_secrets` where {@link MOST_SECRETS} sign already.
   * @returns the new secret, which is shown nowhere else, and when the last of the others ends (null
   *   where none signs on); null when there is no such endpoint
   */
  rotate(
    name: string,
    options: RotateOptions,
  ): Promise<{ secret: string; previousExpiresAt: number | null } | null>;
}

/** Reads and rotates the secrets of configured endpoints. */
export function createEndpointSecrets(deps: EndpointSecretsDependencies): EndpointSecrets {
  const { store, sealer, now } = deps;
  const known = createRotationCache(deps);
  const endpointOf = (name: string) =>
    Object.hasOwn(deps.endpoints.all, name) ? deps.endpoints.all[name] : undefined;
  const signing = (name: string, rotation: Rotation | null) =>
    signingSecrets(rotation, {
      own: endpointOf(name)?.secret ?? null,
      fallback: deriveEndpointSecret(deps.signingSecret, name),
      now: now(),
    });

  /** Null when the key is lost: then nothing signs until a new secret is made. */
  function presentOf(name: string, text: string): ReturnType<typeof signing> | null {
    try {
      return signing(name, openRotation(sealer, name, text));
    } catch (error) {
      if (error instanceof RunwatchError) return null;
      throw error;
    }
  }

  async function tryToRotate(name: string, options: RotateOptions): Promise<Rotation | null> {
    const before = await store.get(name);
    const present = before === null ? signing(name, null) : presentOf(name, before);
    const after: Rotation = {
      current: deps.generate(),
      replaced: present === null || options.now ? [] : signOn(present, options.overlapMs, now()),
      configured: fingerprintOf(endpointOf(name)?.secret ?? null),
    };
    const isWritten = await store.replace(name, before, sealer.seal(after, name));
    return isWritten ? after : null;
  }

  return {
    async effective(name) {
      const { current, replaced } = signing(name, await known.get(name));
      return [current, ...replaced.map(({ secret }) => secret)];
    },
    async derived(name) {
      const endpoint = endpointOf(name);
      if (endpoint === undefined) return null;
      refuseUnlessSigned(endpoint);
      const { current } = signing(name, await known.get(name));
      const derived = deriveEndpointSecret(deps.signingSecret, name);
      if (current === derived) return derived;
      throw new RunwatchError(
        'its secret was configured or made by a rotation, and is shown nowhere',
        { code: 'secret_not_derived' },
      );
    },
    async rotate(name, options) {
      const endpoint = endpointOf(name);
      if (endpoint === undefined) return null;
      refuseUnlessSigned(endpoint);
      refuseUnlessPossible(options);
      for (;;) {
        const rotation = await tryToRotate(name, options);
        if (rotation === null) continue;
        known.forget();
        return { secret: rotation.current, previousExpiresAt: lastEnd(rotation.replaced) };
      }
    },
  };
}

/**
 * What signs beside a new secret: what signed until now for the overlap, the others as promised.
 * Throws RunwatchError `too_many_secrets`.
 */
function signOn(
  { current, replaced }: Pick<Rotation, 'current' | 'replaced'>,
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
function createRotationCache({ store, sealer, now }: EndpointSecretsDependencies) {
  let texts: Promise<Map<string, string>> | null = null;
  let readAt = -Infinity;
  const opened = new Map<string, { text: string; rotation: Rotation }>();

  function read(): Promise<Map<string, string>> {
    // A clock that was set back must not extend the life of the cache.
    const age = Math.abs(now() - readAt);
    if (texts !== null && age < REFRESH_MS) return texts;
    readAt = now();
    const reading = store.all();
    texts = reading;
    // After an error the next call reads again.
    reading.catch(() => {
      if (texts === reading) texts = null;
    });
    return reading;
  }

  return {
    forget() {
      texts = null;
    },
    async get(name: string): Promise<Rotation | null> {
      const text = (await read()).get(name);
      if (text === undefined) return null;
      const before = opened.get(name);
      if (before?.text === text) return before.rotation;
      const rotation = openRotation(sealer, name, text);
      opened.set(name, { text, rotation });
      return rotation;
    },
  };
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
): Pick<Rotation, 'current' | 'replaced'> {
  const stands =
    rotation !== null && (rotation.configured === fingerprintOf(own) || rotation.current === own);
  const current = stands ? rotation.current : (own ?? fallback);
  const promised = (rotation?.replaced ?? []).filter(({ until }) => now < until);
  return { current, replaced: promised.filter(({ secret }) => secret !== current) };
}
