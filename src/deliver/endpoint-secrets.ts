import { RunwatchError } from '../core/errors.ts';
import {
  effectiveSecrets,
  fingerprintOf,
  openRotation,
  sealRotation,
  type Rotation,
} from './rotation.ts';
import type { Sealer } from './seal.ts';

/** For how long a replaced secret may go on signing, ms. */
export const LONGEST_OVERLAP_MS = 7 * 86_400_000;

/** How old what is known of rotations made by other processes may be, ms. */
const REFRESH_MS = 2_000;

interface SecretStore {
  get(endpoint: string): Promise<string | null>;
  all(): Promise<Map<string, string>>;
  replace(endpoint: string, before: string | null, after: string): Promise<boolean>;
}

interface EndpointSecretsDependencies {
  store: SecretStore;
  sealer: Sealer;
  /** The configured endpoints by name; those of another kind than `webhook` sign nothing. */
  endpoints: Readonly<Record<string, { type: string; secret?: string | undefined }>>;
  /** Signs webhooks that have no secret of their own. */
  signingSecret: string;
  /** Makes a secret. */
  generate: () => string;
  now: () => number;
}

export interface EndpointSecrets {
  /**
   * The secrets that sign for a configured webhook now, the newest first. A rotation made by another
   * process shows within {@link REFRESH_MS}; without a round trip for each call.
   * Throws RunwatchError `sealed_by_unknown_key`, `sealed_value_corrupt`, or what the store throws.
   */
  effective(name: string): Promise<readonly string[]>;
  /**
   * Makes a new secret that signs from now on, beside the present one for a while. With an overlap of
   * zero, other processes may sign with the old one for another {@link REFRESH_MS}.
   * Throws RunwatchError `not_signed` for kinds without a secret, `invalid_overlap`.
   * @param overlapMs how long the present secret signs too, 0 to {@link LONGEST_OVERLAP_MS}
   * @returns the new secret, which is told nowhere else; null when there is no such endpoint
   */
  rotate(
    name: string,
    overlapMs: number,
  ): Promise<{ secret: string; previousExpiresAt: number | null } | null>;
}

/** The use cases around the secrets of configured endpoints. */
export function createEndpointSecrets(deps: EndpointSecretsDependencies): EndpointSecrets {
  const { store, sealer, now } = deps;
  const known = createRotationCache(deps);
  const endpointOf = (name: string) =>
    Object.hasOwn(deps.endpoints, name) ? deps.endpoints[name] : undefined;
  const signing = (name: string, rotation: Rotation | null) =>
    effectiveSecrets(rotation, {
      own: endpointOf(name)?.secret ?? null,
      fallback: deps.signingSecret,
      now: now(),
    });

  /** None where the key is lost: then nothing signs, and a new secret is the way out. */
  function presentOf(name: string, text: string): string[] {
    try {
      return signing(name, openRotation(sealer, name, text));
    } catch (error) {
      if (error instanceof RunwatchError) return [];
      throw error;
    }
  }

  async function tryToRotate(name: string, overlapMs: number) {
    const before = await store.get(name);
    const present = before === null ? signing(name, null) : presentOf(name, before);
    const [previous = null] = overlapMs === 0 ? [] : present;
    const after: Rotation = {
      current: deps.generate(),
      previous,
      previousExpiresAt: previous === null ? null : now() + overlapMs,
      configured: fingerprintOf(endpointOf(name)?.secret ?? null),
    };
    const isWritten = await store.replace(name, before, sealRotation(sealer, name, after));
    return isWritten ? after : null;
  }

  return {
    effective: async (name) => signing(name, await known.get(name)),
    async rotate(name, overlapMs) {
      const endpoint = endpointOf(name);
      if (endpoint === undefined) return null;
      refuseUnlessPossible(endpoint, overlapMs);
      for (;;) {
        const rotation = await tryToRotate(name, overlapMs);
        if (rotation === null) continue;
        known.forget();
        const { current, previousExpiresAt } = rotation;
        return { secret: current, previousExpiresAt };
      }
    },
  };
}

function refuseUnlessPossible({ type }: { type: string }, overlapMs: number): void {
  if (type !== 'webhook') {
    throw new RunwatchError(`an endpoint of type ${type} signs nothing`, { code: 'not_signed' });
  }
  if (!(overlapMs >= 0 && overlapMs <= LONGEST_OVERLAP_MS)) {
    const message = 'the old secret can go on signing for 0 to 7 days';
    throw new RunwatchError(message, { code: 'invalid_overlap' });
  }
}

/** What was last read of all rotations; each is decrypted once. */
function createRotationCache({ store, sealer, now }: EndpointSecretsDependencies) {
  let texts: Promise<Map<string, string>> | null = null;
  let readAt = -Infinity;
  const opened = new Map<string, { text: string; rotation: Rotation }>();

  function read(): Promise<Map<string, string>> {
    // A clock that was set back must not keep what is old.
    const age = Math.abs(now() - readAt);
    if (texts !== null && age < REFRESH_MS) return texts;
    readAt = now();
    const reading = store.all();
    texts = reading;
    // What could not be read is read again by the next one who asks.
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
