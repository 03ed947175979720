import type { Redis } from 'ioredis';
import type { AuditRecord } from '../../core/audit.ts';
import type { Keys } from '../keys.ts';
import { auditArgument } from '../lua/audit.ts';
import { replaceField } from '../lua/replace-field.ts';

/**
 * The rotated secrets of endpoints in Redis, each as a text that its owner has encrypted. A text is
 * its own version: no two encryptions are the same. Errors of the connection pass through.
 */
export class SecretStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(endpoint: string): Promise<string | null> {
    return this.redis.hget(this.keys.endpointSecrets, endpoint);
  }

  /** All of them, by endpoint: as many as there are endpoints at the most, in one round trip. */
  async all(): Promise<Map<string, string>> {
    return new Map(Object.entries(await this.redis.hgetall(this.keys.endpointSecrets)));
  }

  /**
   * Writes the text of an endpoint.
   * @param before what was read; null for none
   * @param audit what a user did; null where no user did it
   * @returns false when another process has written meanwhile
   */
  async replace(
    endpoint: string,
    before: string | null,
    after: string,
    audit: AuditRecord | null = null,
  ): Promise<boolean> {
    const { endpointSecrets: key } = this.keys;
    return replaceField(
      this.redis,
      { key, field: endpoint },
      { was: before ?? '', is: after },
      auditArgument(this.keys, audit),
    );
  }

  /** Removes the text of an endpoint. @returns false when it is another one by now */
  async remove(endpoint: string, before: string): Promise<boolean> {
    return this.replace(endpoint, before, '');
  }
}

/** The ids of the keys that values in Redis may be sealed by. Errors of the connection pass through. */
export class SealingKeyStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async all(): Promise<string[]> {
    return this.redis.smembers(this.keys.sealingKeys);
  }

  /** To be called before anything is sealed by the key. */
  async add(keyId: string): Promise<void> {
    const { sealingKeys } = this.keys;
    // A daemon also starts on a full Redis, which refuses this even where it changes nothing.
    if ((await this.redis.sismember(sealingKeys, keyId)) === 1) return;
    await this.redis.sadd(sealingKeys, keyId);
  }

  /** To be called once nothing is sealed by these keys any more. */
  async remove(keyIds: readonly string[]): Promise<void> {
    if (keyIds.length > 0) await this.redis.srem(this.keys.sealingKeys, ...keyIds);
  }
}
