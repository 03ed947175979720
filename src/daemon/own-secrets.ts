import type { Config } from '../config/schema.ts';
import { createSealer, type Sealer } from '../deliver/seal.ts';
import { loadEncryptionKeys } from './encryption-keys.ts';
import { usesOwnRedis } from './open-redis.ts';
import { loadSigningSecret } from './signing-secret.ts';

/** The secrets of the instance itself. */
export interface OwnSecrets {
  /** Signs webhooks that have no secret of their own. */
  signingSecret: string;
  sealer: Sealer;
}

interface OwnSecretsOptions {
  config: Config;
  log: { info(fields: { path: string }, message: string): void };
}

/**
 * Loads what is configured, makes what is not, and says where the latter is kept.
 * Throws RunwatchError `kept_secret_invalid`, `kept_secret_unusable`.
 */
export async function loadOwnSecrets(options: OwnSecretsOptions): Promise<OwnSecrets> {
  return { signingSecret: await signingSecret(options), sealer: await sealer(options) };
}

async function signingSecret({ config, log }: OwnSecretsOptions): Promise<string> {
  const { secret, path } = await loadSigningSecret(config.data_dir, config.delivery.signing_secret);
  if (path !== null) log.info({ path }, 'webhooks without a secret of their own are signed by');
  return secret;
}

async function sealer({ config, log }: OwnSecretsOptions): Promise<Sealer> {
  const configured = config.encryption.keys;
  const { keys, path } = await loadEncryptionKeys(config.data_dir, configured);
  if (path !== null) log.info({ path }, remarkOnKey(config));
  return createSealer(keys);
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
