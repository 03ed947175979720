import { RunwatchError } from '../core/errors.ts';
import { countSealed } from '../deliver/reencrypt.ts';
import type { SealingKeyStore } from '../redis/stores/secret-store.ts';

interface LostKeysOptions {
  sealingKeys: SealingKeyStore;
  watches: Parameters<typeof countSealed>[0]['watches'];
  secrets: Parameters<typeof countSealed>[0]['secrets'];
  /** The ids of the keys that are at hand. */
  keyIds: readonly string[];
}

/**
 * Keeps a daemon from starting without a key that something in Redis is sealed by: it would make
 * another one, and everything that was sealed be dead without a word. Reads the watches only where a
 * key is missing.
 * Throws RunwatchError `encryption_key_lost`, and what the stores throw.
 */
export async function refuseLostKeys(options: LostKeysOptions): Promise<void> {
  const { sealingKeys, watches, secrets, keyIds } = options;
  const missing = (await sealingKeys.all()).filter((id) => !keyIds.includes(id));
  if (missing.length === 0) return;
  const counts = await countSealed({ watches, secrets });
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

/** Forgets the keys that nothing is sealed by any more. Throws what the stores throw. */
export async function forgetUnusedKeys(options: Omit<LostKeysOptions, 'keyIds'>): Promise<void> {
  const { sealingKeys, watches, secrets } = options;
  const known = await sealingKeys.all();
  const counts = await countSealed({ watches, secrets });
  await sealingKeys.remove(known.filter((id) => !counts.has(id)));
}
