import type { Config } from '../config/schema.ts';
import { createSealer, type Sealer } from '../deliver/seal.ts';
import { keyIdsOf } from '../deliver/seal.ts';
import { loadEncryptionKeys, presentEncryptionKeys } from './encryption-keys.ts';
import { refuseLostKeys } from './lost-keys.ts';
import { usesOwnRedis } from './open-redis.ts';
import { loadSigningSecret } from './signing-secret.ts';
import type { Stores } from './stores.ts';

/** The secrets of the instance itself. */
export interface OwnSecrets {
  /** Signs webhooks that have no secret of their own. */
  signingSecret: string;
  sealer: Sealer;
}

interface OwnSecretsOptions {
  config: Config;
  log: { info(fields: { path: string }, message: string): void };
  /** What may be sealed already. */
  stores: Pick<Stores, 'sealingKeys' | 'watches' | 'endpointSecrets'>;
}

/**
 * Loads what is configured, makes what is not, and says where the latter is kept.
 * Throws RunwatchError `encryption_key_lost` and those of {@link readKeptSecret}.
 */
export async function loadOwnSecrets(options: OwnSecretsOptions): Promise<OwnSecrets> {
  return { signingSecret: await signingSecret(options), sealer: await sealer(options) };
}

async function signingSecret({ config, log }: OwnSecretsOptions): Promise<string> {
  const { secret, path } = await loadSigningSecret(config.data_dir, config.delivery.signing_secret);
  if (path !== null) log.info({ path }, 'webhooks without a secret of their own are signed by');
  return secret;
}

async function sealer({ config, log, stores }: OwnSecretsOptions): Promise<Sealer> {
  const configured = config.encryption.keys;
  const { sealingKeys, watches, endpointSecrets: secrets } = stores;
  const keyIds = keyIdsOf(presentEncryptionKeys(config.data_dir, configured));
  await refuseLostKeys({ sealingKeys, watches, secrets, keyIds });
  const { keys, path } = await loadEncryptionKeys(config.data_dir, configured);
  if (path !== null) log.info({ path }, remarkOnKey(config));
  const made = createSealer(keys);
  await sealingKeys.add(made.keyId);
  return made;
}

function remarkOnKey(config: Config): string {
  if (config.encryption.keys.length > 0) {
    return 'besides the configured keys, secrets are decrypted by the one kept in';
  }
  const remark = 'secrets that come with a watch are encrypted by the key in';
  // Whoever shares a Redis gets deliveries of the others to send.
  return usesOwnRedis(config)
    ? remark
    : `daemons on other hosts need the same key (RUNWATCH_ENCRYPTION_KEY): ${remark}`;
}
