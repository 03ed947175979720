import type { Config } from '../config/schema.ts';
import { createSealer } from '../deliver/seal.ts';
import { reencrypt, type ReencryptReport } from '../deliver/reencrypt.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { Logger } from '../telemetry/logger.ts';
import { openRedis } from './open-redis.ts';
import { createStores } from './stores.ts';

interface StoredSecretsOptions {
  config: Config;
  log: Logger;
  /** Closes what is opened. */
  lifecycle: Lifecycle;
}

/**
 * Encrypts what is stored for a configuration with its first key.
 * Throws RunwatchError `no_encryption_key`, or of Redis that could not be reached.
 */
export async function reencryptStored(options: StoredSecretsOptions): Promise<ReencryptReport> {
  const connections = await openRedis(options);
  const { watches, endpointSecrets } = createStores(connections, options.config.redis.prefix);
  const sealer = createSealer(options.config.encryption.keys);
  return reencrypt({ watches, secrets: endpointSecrets, sealer });
}
