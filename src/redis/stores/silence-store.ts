import type { Redis } from 'ioredis';
import { sum } from '../../core/arrays.ts';
import type { Silence, SilenceRefusal } from '../../core/alert/silence.ts';
import { jsonOrNull } from '../connection.ts';
import type { Keys } from '../keys.ts';

/** Silences that may be in force or to come at a time. */
const MOST = 1_000;

/** How many of them one token may have created. */
const MOST_OF_TOKEN = MOST / 4;

/** Those that have expired included. */
const MOST_KEPT = 2 * MOST;

/** Silences in Redis. Errors of the connection pass through. */
export class SilenceStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async all(): Promise<Silence[]> {
    const docs = await this.redis.hvals(this.keys.silences);
    return docs.map(parse);
  }

  async get(id: string): Promise<Silence | null> {
    return jsonOrNull(await this.redis.hget(this.keys.silences, id)) as Silence | null;
  }

  /**
   * Adds a silence, unless there is one of its id.
   * @returns the one that is there now; `full` where too many have not expired, `share` where too many of
   *   its token have not
   */
  async add(silence: Silence): Promise<{ silence: Silence; isNew: boolean } | SilenceRefusal> {
    const there = await this.redis.rwAddSilence(
      this.keys.silences,
      silence.id,
      JSON.stringify(silence),
      MOST,
      MOST_OF_TOKEN,
      MOST_KEPT,
      silence.createdAt,
    );
    if (there === 0) return 'full';
    if (there === -1) return 'share';
    return there === 1
      ? { silence, isNew: true }
      : { silence: JSON.parse(there) as Silence, isNew: false };
  }

  /** Writes a silence anew. */
  async put(silence: Silence): Promise<void> {
    await this.redis.hset(this.keys.silences, silence.id, JSON.stringify(silence));
  }

  /** Forgets those that expired before a time; one that was created anew by its key meanwhile is kept. */
  async forget(before: number): Promise<number> {
    const { silences } = this.keys;
    const docs = await this.redis.hgetall(silences);
    const old = Object.entries(docs).filter(([, doc]) => parse(doc).until < before);
    const forgotten = await Promise.all(
      old.map(([id, doc]) => this.redis.rwReplaceField(silences, id, doc, '')),
    );
    return sum(forgotten);
  }
}

function parse(doc: string): Silence {
  return JSON.parse(doc) as Silence;
}
