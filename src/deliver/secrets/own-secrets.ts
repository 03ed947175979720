import { randomBytes, randomUUID } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import { join, dirname } from 'node:path';
import { webhookSecret } from '../../config/endpoint-schema.ts';
import { MAX_SECRET_BYTES, readRegularFile, distrust, ownUids } from '../../config/read-file.ts';
import type { Config } from '../../config/schema.ts';
import { decodeEncryptionKey, ENCRYPTION_KEY_BYTES } from '../../core/encryption-key.ts';
import { RunwatchError, messageOf } from '../../core/errors.ts';
import { SealedSecrets, type ReencryptReport } from './sealed-secrets.ts';
import { createSealer, type Sealer, keyIdsOf, type SealingKeys } from './seal.ts';
import { generateSecret } from './sign.ts';
import type { Lifecycle } from '../../lifecycle.ts';
import { makeDirectory } from '../../redis/make-directory.ts';
import { isCode } from '../../redis/file-lock.ts';
import type { SealingKeyStore } from '../../redis/stores/secret-store.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { checkDataDirectory } from '../../daemon/data-directory.ts';
import { usesOwnRedis, openRedis } from '../../daemon/redis.ts';
import { type Stores, createStores } from '../../daemon/stores.ts';

/** The secrets of this installation. */
export interface OwnSecrets {
  /** Signs webhooks without a secret of their own. */
  signingSecret: string;
  sealer: Sealer;
}

interface OwnSecretsOptions {
  config: Config;
  log: { info(fields: { path: string }, message: string): void };
  /** The stores with sealed values. */
  stores: Pick<Stores, 'sealingKeys' | 'watches' | 'endpointSecrets' | 'batches'>;
}

/**
 * Loads the configured secrets, makes those that are not configured, and logs where these are kept.
 * Throws RunwatchError `encryption_key_lost` and those of {@link readKeptSecret}.
 */
export async function loadOwnSecrets(options: OwnSecretsOptions): Promise<OwnSecrets> {
  return { signingSecret: await openSigningSecret(options), sealer: await openSealer(options) };
}

/** The secrets that lie in a data directory; {@link keepSecret} puts the same back where they are gone. */
export function keptSecrets(dataDir: string): KeptSecret[] {
  return [encryptionKeyFile(dataDir), signingSecretFile(dataDir)].flatMap((file) => {
    const secret = readKeptSecret(file);
    return secret === null ? [] : [{ ...file, generate: () => secret }];
  });
}

async function openSigningSecret({ config, log }: OwnSecretsOptions): Promise<string> {
  const { secret, path } = await loadSigningSecret(config.data_dir, config.delivery.signing_secret);
  if (path !== null) log.info({ path }, 'webhooks without a secret of their own are signed by');
  return secret;
}

async function openSealer({ config, log, stores }: OwnSecretsOptions): Promise<Sealer> {
  const configured = config.encryption.keys;
  const { sealingKeys, watches, endpointSecrets, batches } = stores;
  const keyIds = keyIdsOf(presentEncryptionKeys(config.data_dir, configured));
  await refuseLostKeys(sealingKeys, new SealedSecrets(watches, endpointSecrets, batches), keyIds);
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
  // Daemons on one Redis send the deliveries of one another.
  return usesOwnRedis(config)
    ? remark
    : `daemons on other hosts need the same key (RUNWATCH_ENCRYPTION_KEY): ${remark}`;
}

interface EncryptionKeys {
  /** The first encrypts, all decrypt. */
  keys: SealingKeys;
  /** Where one of them is kept; null when all were configured. */
  path: string | null;
}

/**
 * The keys that encrypt secrets in Redis: the configured ones, else one that is made at the first start
 * and kept in the data directory. A kept key still decrypts after others are configured.
 * Throws RunwatchError of {@link keepSecret}.
 */
export async function loadEncryptionKeys(
  dataDir: string,
  configured: readonly string[],
): Promise<EncryptionKeys> {
  const file = encryptionKeyFile(dataDir);
  const { path } = file;
  const [first, ...others] = configured;
  if (first === undefined) return { keys: [await keepSecret(file)], path };
  const kept = readKeptSecret(file);
  return kept === null
    ? { keys: [first, ...others], path: null }
    : { keys: [first, ...others, kept], path };
}

/** The available keys, without making one. Throws RunwatchError of {@link readKeptSecret}. */
function presentEncryptionKeys(dataDir: string, configured: readonly string[]): string[] {
  const kept = readKeptSecret(encryptionKeyFile(dataDir));
  return kept === null ? [...configured] : [...configured, kept];
}

function encryptionKeyFile(dataDir: string): KeptSecret {
  return {
    path: join(dataDir, 'encryption-key'),
    generate: () => randomBytes(ENCRYPTION_KEY_BYTES).toString('base64'),
    isValid: (text) => decodeEncryptionKey(text) !== null,
    expected: '32 bytes in base64 or hex',
    loss: 'secrets that it encrypted are lost then and have to be given anew',
    variable: 'RUNWATCH_ENCRYPTION_KEY',
  };
}

interface SigningSecret {
  secret: string;
  /** Where it is kept; null when it was configured. */
  path: string | null;
}

/**
 * The secret that signs webhooks without one of their own: the configured one, else one that is made at
 * the first start and kept in the data directory.
 * Throws RunwatchError of {@link keepSecret}.
 */
export async function loadSigningSecret(
  dataDir: string,
  configured: string | undefined,
): Promise<SigningSecret> {
  if (configured !== undefined) return { secret: configured, path: null };
  const file = signingSecretFile(dataDir);
  return { secret: await keepSecret(file), path: file.path };
}

function signingSecretFile(dataDir: string): KeptSecret {
  return {
    path: join(dataDir, 'signing-secret'),
    generate: generateSecret,
    isValid: (text) => webhookSecret.safeParse(text).success,
    expected: 'whsec_ followed by the base64 of 24 to 64 bytes',
    loss: 'the next start makes another one, which receivers have to be given',
    variable: 'RUNWATCH_SIGNING_SECRET',
  };
}

/**
 * Refuses a start without a key that sealed a value in Redis: the daemon would make another key, and all
 * sealed values would be lost without notice. Reads the watches only if a key is missing.
 * @param keyIds of the available keys
 * Throws RunwatchError `encryption_key_lost`, and what the stores throw.
 */
export async function refuseLostKeys(
  sealingKeys: SealingKeyStore,
  sealed: SealedSecrets,
  keyIds: readonly string[],
): Promise<void> {
  const missing = (await sealingKeys.all()).filter((id) => !keyIds.includes(id));
  if (missing.length === 0) return;
  const counts = await sealed.countByKey();
  const lost = missing.filter((id) => counts.has(id));
  await sealingKeys.remove(missing.filter((id) => !counts.has(id)));
  if (lost.length === 0) return;
  const count = lost.reduce((sum, id) => sum + (counts.get(id) ?? 0), 0);
  const [keys, are] = lost.length === 1 ? ['the key', 'is'] : ['the keys', 'are'];
  throw new RunwatchError(
    `${count} secrets in Redis are encrypted by ${keys} ${lost.join(', ')}, which ${are} not here: ` +
      'put it back (RUNWATCH_ENCRYPTION_KEY, or the file encryption-key of the data directory), ' +
      'or give the secrets up with `runwatch reencrypt --discard`',
    { code: 'encryption_key_lost' },
  );
}

/** Removes the ids of keys that seal no value any more. Throws what the stores throw. */
export async function forgetUnusedKeys(
  sealingKeys: SealingKeyStore,
  sealed: SealedSecrets,
): Promise<void> {
  const known = await sealingKeys.all();
  const counts = await sealed.countByKey();
  await sealingKeys.remove(known.filter((id) => !counts.has(id)));
}

interface StoredSecretsOptions {
  config: Config;
  log: Logger;
  /** Closes the connections. */
  lifecycle: Lifecycle;
  /** Deletes values that no key opens. */
  discard: boolean;
}

/**
 * Encrypts all stored secrets with the first key of a configuration, also those of the key in the data
 * directory.
 * Throws RunwatchError `kept_secret_invalid`, `kept_secret_unusable`, or of Redis that could not be
 * reached.
 */
export async function reencryptStored(options: StoredSecretsOptions): Promise<ReencryptReport> {
  const { data_dir: dataDir, encryption, redis } = options.config;
  await checkDataDirectory(dataDir);
  const { keys } = await loadEncryptionKeys(dataDir, encryption.keys);
  const { connections } = await openRedis(options);
  const stores = createStores(connections, redis.prefix);
  const { sealingKeys, watches, endpointSecrets, batches, forms } = stores;
  const foreign = await forms.foreign();
  if (foreign !== null) throw new RunwatchError(foreign, { code: 'schema_unknown' });
  const sealed = new SealedSecrets(watches, endpointSecrets, batches);
  const sealer = createSealer(keys);
  await sealingKeys.add(sealer.keyId);
  const report = await sealed.reencrypt(sealer, options.discard);
  await forgetUnusedKeys(sealingKeys, sealed);
  return report;
}

/** A generated secret in a file that only its owner may read. */
export interface KeptSecret {
  path: string;
  /** Makes one. */
  generate: () => string;
  isValid: (text: string) => boolean;
  /** The form of a valid secret, for the error about another one. */
  expected: string;
  /** What is lost with the file, for the same error. */
  loss: string;
  /** The variable that sets the secret in place of the file. */
  variable: string;
}

/**
 * The secret in the file, made if there is none. Processes that call it at the same moment get the same
 * one. A process that is killed at any instruction leaves a whole file or none.
 * Throws RunwatchError of {@link readKeptSecret}, and `kept_secret_unusable` where the file cannot be
 * made. A file that is there is never written to.
 */
export async function keepSecret(kept: KeptSecret): Promise<string> {
  const found = readKeptSecret(kept);
  if (found !== null) return found;
  await make(kept).catch((error: unknown) => {
    throw unusable(kept, `cannot be made (${messageOf(error)})`, error);
  });
  const made = readKeptSecret(kept);
  if (made !== null) return made;
  throw unusable(kept, 'cannot be made (it leads nowhere)');
}

/**
 * The secret in the file; null when there is none.
 * Throws RunwatchError `kept_secret_invalid`, `kept_secret_untrusted` where another user may have put
 * it there, `kept_secret_unusable` where it cannot be read.
 */
export function readKeptSecret(kept: KeptSecret): string | null {
  const read = readRegularFile(kept.path, { maxBytes: MAX_SECRET_BYTES });
  if (read.kind === 'unreadable') {
    if (read.isAbsent) return null;
    throw unusable(kept, `is of no use: ${read.message}`);
  }
  const reason = distrust({ path: kept.path, stats: read.stats, uids: ownUids({}) });
  if (reason !== null) throw new RunwatchError(reason, { code: 'kept_secret_untrusted' });
  const secret = read.text.trim();
  if (kept.isValid(secret)) return secret;
  const { path, expected, loss } = kept;
  const remedy = `put it back from a backup, or remove the file: ${loss}`;
  throw new RunwatchError(`${path} holds no secret (expected ${expected}): ${remedy}`, {
    code: 'kept_secret_invalid',
  });
}

/** Writes and syncs a draft, then links it: the file has its name only once it is whole. */
async function make({ path, generate }: KeptSecret): Promise<void> {
  const secret = generate();
  const folder = dirname(path);
  const draft = `${path}.${randomUUID()}`;
  await makeDirectory(folder);
  try {
    await writeSynced(draft, `${secret}\n`);
    await link(draft, path);
  } catch (error) {
    // Another process was first: its file stands.
    if (!isCode(error, 'EEXIST')) throw error;
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(folder);
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** The name must survive a crash of the machine: values that the key encrypted may survive elsewhere. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function unusable({ path, variable }: KeptSecret, what: string, cause?: unknown): RunwatchError {
  const remedy = `set ${variable}, or RUNWATCH_DATA_DIR to a directory of your own`;
  return new RunwatchError(`${path} ${what}: ${remedy}`, { code: 'kept_secret_unusable', cause });
}
