import type { Redis } from 'ioredis';
import { memoryFigures, type MemoryFigures, type MemoryUse } from '../../core/redis-memory.ts';
import { INDEX_BYTES } from '../indexes.ts';
import type { Keys } from '../keys.ts';
import { storeNow } from '../store-clock.ts';
import { estimateNumbers } from '../numbers.ts';

/** How often the memory in use is noted, ms. */
const NOTE_EVERY_MS = 3_600_000;

/** For how long that is kept, ms: a day, and until the next note. */
const NOTES_KEPT_MS = 86_400_000 + NOTE_EVERY_MS;

/** For how long figures are given again, ms. */
const FIGURES_KEPT_MS = 60_000;

/** What a packed record costs Redis besides its text, in bytes: the key, and what leads to it. */
const RECORD_BYTES = 140;

/** What memory Redis uses, for what, and had used. Errors of the connection pass through. */
export class RedisMemoryStore {
  private kept: { figures: MemoryFigures | null; at: number } | null = null;

  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Figures of up to a minute ago; null where Redis does not say. */
  async figures(): Promise<MemoryFigures | null> {
    const isFresh = this.kept !== null && performance.now() - this.kept.at < FIGURES_KEPT_MS;
    if (!isFresh) this.kept = { figures: await this.read(), at: performance.now() };
    return this.kept?.figures ?? null;
  }

  /** Notes the memory in use, unless a process has within the hour. */
  async note(): Promise<void> {
    const { memoryNotes } = this.keys;
    const now = await storeNow(this.redis, this.keys);
    const [, last] = await this.redis.zrange(memoryNotes, '-1', '-1', 'WITHSCORES');
    if (last !== undefined && now - Number(last) < NOTE_EVERY_MS) return;
    const found = await this.use();
    if (found === null) return;
    await this.redis.zadd(memoryNotes, now, `${now} ${found.used}`);
    await this.redis.zremrangebyscore(memoryNotes, '-inf', now - NOTES_KEPT_MS);
  }

  private async read(): Promise<MemoryFigures | null> {
    const { memoryNotes } = this.keys;
    const found = await this.use();
    if (found === null) return null;
    const now = await storeNow(this.redis, this.keys);
    const [note] = await this.redis.zrange(memoryNotes, '0', '0');
    const [at = 0, used = 0] = note?.split(' ').map(Number) ?? [];
    const isOld = note !== undefined && now - at >= NOTE_EVERY_MS;
    const [settled, indexes] = await Promise.all([this.settledBytes(), this.indexBytes()]);
    return memoryFigures(
      { ...found, before: isOld ? { used, at } : null },
      { settled, indexes },
      now,
    );
  }

  private async settledBytes(): Promise<number> {
    const [watches, bytes] = await this.redis.hmget(this.keys.packed, 'watches', 'bytes');
    return Number(bytes ?? 0) + RECORD_BYTES * Number(watches ?? 0);
  }

  private async indexBytes(): Promise<number> {
    const { keys, redis } = this;
    const [watches, events, deliveries] = await Promise.all([
      redis.zcard(keys.watchesChanged),
      estimateNumbers(redis, keys.eventLog),
      redis.hget(keys.deliveryCounts, 'planned'),
    ]);
    return (
      watches * INDEX_BYTES.watch +
      events * INDEX_BYTES.event +
      Number(deliveries ?? 0) * INDEX_BYTES.delivery
    );
  }

  private async use(): Promise<Omit<MemoryUse, 'before'> | null> {
    // Managed servers may forbid INFO.
    const text = await this.redis.info('memory').catch(() => '');
    const figure = (name: string) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(text)?.[1]);
    const used = figure('used_memory');
    if (Number.isNaN(used)) return null;
    return { used, startup: figure('used_memory_startup') || 0, max: figure('maxmemory') || 0 };
  }
}
