import type { Config } from '../config/schema.ts';
import { createSealer } from '../deliver/seal.ts';
import { reencrypt, type ReencryptReport } from '../deliver/reencrypt.ts';
import type { Lifecycle } from '../lifecycle.ts';
import type { Logger } from '../telemetry/logger.ts';
import { checkDataDirectory } from './data-directory.ts';
import { loadEncryptionKeys } from './encryption-keys.ts';
import { forgetUnusedKeys } from './lost-keys.ts';
import { openRedis } from './open-redis.ts';
import { createStores } from './stores.ts';

interface StoredSecretsOptions {
  config: Config;
  log: Logger;
  /** Closes what is opened. */
  lifecycle: Lifecycle;
  /** Gives up what no key opens. */
  discard: boolean;
}

/**
 * Encrypts what is stored for a configuration with its first key, also what the key in the data
 * directory has encrypted.
 * Throws RunwatchError `kept_secret_invalid`, `kept_secret_unusable`, or of Redis that could not be
 * reached.
 */
export async function reencryptStored(options: StoredSecretsOptions): Promise<ReencryptReport> {
  const { data_dir: dataDir, encryption, redis } = options.config;
  await checkDataDirectory(dataDir);
  const { keys } = await loadEncryptionKeys(dataDir, encryption.keys);
  const connections = await openRedis(options);
  const { sealingKeys, watches, endpointSecrets } = createStores(connections, redis.prefix);
  const stored = { watches, secrets: endpointSecrets };
  const sealer = createSealer(keys);
  await sealingKeys.add(sealer.keyId);
  const report = await reencrypt({ ...stored, sealer, discard: options.discard });
  await forgetUnusedKeys({ ...stored, sealingKeys });
  return report;
}
