import type { Redis } from 'ioredis';
import { refusalOf } from './failures.ts';
import type { Keys } from './keys.ts';

/** Keys that one command of Redis scans. */
const SCANNED = 500;

/** Keys of a kind that are measured one by one; of further ones, one in {@link STEP}. */
const MEASURED = 2_000;
const STEP = 20;

/** What keys of one kind take. */
export interface KindSize {
  /** The first word of their names, `poll-…` for all keys of queues. */
  kind: string;
  keys: number;
  /** In bytes of Redis, an estimate; null where Redis does not say. */
  bytes: number | null;
}

/** What is known of a kind so far. */
class Tally {
  keys = 0;
  /** Keys among the first ones that were measured, and further ones. */
  readonly first = { keys: 0, bytes: 0 };
  readonly others = { keys: 0, bytes: 0 };

  /** Counts a key. @returns whether it is to be measured */
  count(): boolean {
    this.keys += 1;
    return this.keys <= MEASURED || this.keys % STEP === 0;
  }

  measured(bytes: number): void {
    const part = this.first.keys < MEASURED ? this.first : this.others;
    part.keys += 1;
    part.bytes += bytes;
  }

  /** Of all keys: those that were not measured are as large as their like. */
  get bytes(): number {
    const { keys, first, others } = this;
    const like = others.keys > 0 ? others : first;
    const rest = keys - first.keys;
    return Math.round(first.bytes + (like.keys === 0 ? 0 : (rest * like.bytes) / like.keys));
  }
}

/**
 * Keys and bytes by kind, the largest first. It goes through all keys by many short commands, so that Redis
 * serves others meanwhile. Errors of the connection pass through.
 */
export async function sizesByKind(redis: Redis, keys: Keys): Promise<KindSize[]> {
  const tallies = new Map<string, Tally>();
  let saysBytes = true;
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(
      cursor,
      'MATCH',
      `${keys.queuePrefix}:*`,
      'COUNT',
      SCANNED,
    );
    const measured = found.flatMap((key) => {
      const kind = kindOfKey(keys, key);
      const tally = tallies.get(kind) ?? new Tally();
      tallies.set(kind, tally);
      return tally.count() ? [{ key, tally }] : [];
    });
    if (saysBytes) saysBytes = await measure(redis, measured);
    cursor = next;
  } while (cursor !== '0');
  return [...tallies]
    .map(([kind, tally]) => ({ kind, keys: tally.keys, bytes: saysBytes ? tally.bytes : null }))
    .toSorted((a, b) => (b.bytes ?? b.keys) - (a.bytes ?? a.keys));
}

/** @returns false where Redis does not say how large keys are */
async function measure(
  redis: Redis,
  measured: readonly { key: string; tally: Tally }[],
): Promise<boolean> {
  const pipeline = redis.pipeline();
  for (const { key } of measured) pipeline.memory('USAGE', key);
  for (const [at, [error, bytes]] of ((await pipeline.exec()) ?? []).entries()) {
    if (error !== null && isForbidden(error)) return false;
    if (error !== null) throw error;
    // Null for a key that is gone by now.
    if (typeof bytes === 'number') measured[at]?.tally.measured(bytes);
  }
  return true;
}

function isForbidden(error: Error): boolean {
  const reply = error.cause instanceof Error ? error.cause : error;
  return refusalOf(reply)?.code === 'NOPERM' || /^ERR unknown command/i.test(reply.message);
}

/** The first word of the name of a key. */
export function kindOfKey({ queuePrefix }: Keys, key: string): string {
  const [word = ''] = key.slice(queuePrefix.length + 1).split(':', 1);
  return word.startsWith('poll-') ? 'poll-…' : word;
}
