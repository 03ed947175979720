import type { Redis } from 'ioredis';
import { batchNameKey, type Batch } from '../../core/batch.ts';
import { kindOfKey } from '../key-sizes.ts';
import type { Keys } from '../keys.ts';
import { seenAgain, type Problems } from './problems.ts';
import { HASH, SORTED_SET, type Structure } from './structures.ts';

/** A key whose members, or values, are names of records. */
interface References {
  key: string;
  structure: Structure;
  names: 'name' | 'value';
  to: (name: string) => string;
}

/** The keys in which batches are named that do not say so themselves. */
export function referencesOf(keys: Keys): References[] {
  const { batch } = keys;
  const members = { structure: SORTED_SET, names: 'name' } as const;
  return [
    { key: keys.batchesDue, ...members, to: batch },
    { key: keys.batchNames, structure: HASH, names: 'value', to: batch },
  ];
}

/** Whether there is a record for each name in a key. */
export async function checkReferences(
  redis: Redis,
  keys: Keys,
  { key, structure, names, to }: References,
  problems: Problems,
): Promise<void> {
  const short = key.slice(keys.queuePrefix.length + 1);
  for await (const page of structure.pages(redis, key)) {
    for (const found of page) {
      const name = found[names];
      const isStray = await seenAgain(async () => {
        if ((await redis.exists(to(name))) === 1) return false;
        const value = await structure.read(redis, key, found.name);
        return value !== null && (names === 'name' || value === name);
      });
      const example = `${short} names ${name}, of which there is no record`;
      if (isStray) problems.note('stray', kindOfKey(keys, key), example);
    }
  }
}

/** The name of an open batch stands for it. */
export async function checkBatchName(
  redis: Redis,
  { batchNames, batch: keyOf }: Keys,
  batch: Batch,
  problems: Problems,
): Promise<void> {
  const isMissing = await seenAgain(async () => {
    const [id, state] = await Promise.all([
      redis.hget(batchNames, batchNameKey(batch)),
      redis.hget(keyOf(batch.id), 'state'),
    ]);
    return state === 'open' && id !== batch.id;
  });
  const example = `the name of batch ${batch.id} does not stand for it in batch-names`;
  if (isMissing) problems.note('missing', 'batch-names', example);
}
