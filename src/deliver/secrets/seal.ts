import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { decodeEncryptionKey, ENCRYPTION_KEY_BYTES } from '../../core/encryption-key.ts';
import { RunwatchError } from '../../core/errors.ts';

const ALGORITHM = 'aes-256-gcm';
const FORMAT = 'v1';
/** The length for which GCM is defined without hashing (NIST SP 800-38D, section 8.2). */
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** Keys of 32 bytes, raw, in base64 or in hex: the first encrypts, all decrypt. */
export type SealingKeys = readonly [string | Buffer, ...(string | Buffer)[]];

interface SealingKey {
  id: string;
  bytes: Buffer;
}

/** Encrypts secrets before they are stored. */
export interface Sealer {
  /**
   * Encrypts with the first key.
   * @param context the owner of the value, such as a watch's id; it opens with the same context only
   */
  seal(plain: object, context: string): string;
  /**
   * Decrypts with the key that sealed the value.
   * @throws RunwatchError `sealed_by_unknown_key`, or `sealed_value_corrupt` when value or context
   *   differ from those that were sealed
   */
  open(sealed: string, context: string): unknown;
  /** The id of the key that seals. */
  readonly keyId: string;
  /** Whether the first key sealed it; if not, it has to be sealed anew after a key rotation. */
  isCurrent(sealed: string): boolean;
}

/**
 * AES-256-GCM with a key id in front, so that keys can be rotated.
 * A sealed value is `v1.<key id>.<iv>.<ciphertext and tag>`, the binary parts in base64url.
 * @throws RunwatchError `invalid_encryption_key`
 */
export function createSealer(keys: SealingKeys): Sealer {
  const allKeys = keys.map(parseKey);
  const first = parseKey(keys[0], 0);
  return {
    keyId: first.id,
    seal: (plain, context) => encrypt(JSON.stringify(plain), first, context),
    open: (sealed, context) => JSON.parse(decrypt(sealed, allKeys, context)),
    isCurrent: (sealed) => sealed.startsWith(`${FORMAT}.${first.id}.`),
  };
}

/** The ids of keys, which reveal nothing of the keys. @throws RunwatchError `invalid_encryption_key` */
export function keyIdsOf(keys: readonly (string | Buffer)[]): string[] {
  return keys.map((key, index) => parseKey(key, index).id);
}

/** The id of the key that sealed a value. */
export function sealedBy(sealed: string): string {
  return sealed.split('.', 2)[1] ?? '';
}

function parseKey(key: string | Buffer, index: number): SealingKey {
  const bytes = typeof key === 'string' ? decodeEncryptionKey(key.trim()) : key;
  if (bytes?.length === ENCRYPTION_KEY_BYTES) {
    return { id: createHash('sha256').update(bytes).digest('hex').slice(0, 8), bytes };
  }
  throw new RunwatchError(`encryption key ${index + 1}: expected 32 bytes in base64 or hex`, {
    code: 'invalid_encryption_key',
  });
}

function encrypt(text: string, key: SealingKey, context: string): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv(ALGORITHM, key.bytes, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(context));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
  return [FORMAT, key.id, iv.toString('base64url'), sealed.toString('base64url')].join('.');
}

function decrypt(sealed: string, keys: readonly SealingKey[], context: string): string {
  const [format, keyId, iv, data, ...rest] = sealed.split('.');
  if (format !== FORMAT || iv === undefined || data === undefined || rest.length > 0) {
    throw corrupt();
  }
  const key = keys.find(({ id }) => id === keyId);
  if (key === undefined) {
    throw new RunwatchError('the secret was sealed with a key that this daemon does not have', {
      code: 'sealed_by_unknown_key',
    });
  }
  try {
    const bytes = Buffer.from(data, 'base64url');
    const options = { authTagLength: TAG_BYTES };
    const decipher = createDecipheriv(ALGORITHM, key.bytes, Buffer.from(iv, 'base64url'), options);
    decipher.setAAD(Buffer.from(context)).setAuthTag(bytes.subarray(-TAG_BYTES));
    return (
      decipher.update(bytes.subarray(0, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
    );
  } catch (cause) {
    throw corrupt(cause);
  }
}

function corrupt(cause?: unknown): RunwatchError {
  return new RunwatchError('the sealed secret was changed, or belongs to something else', {
    code: 'sealed_value_corrupt',
    cause,
  });
}
