import type { Redis } from 'ioredis';
import { openCursor } from '../cursor.ts';
import { RunwatchError } from '../../core/errors.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import type { Keys } from '../keys.ts';
import type { EventBell } from '../channels.ts';
import { filterIndexes, readPage } from '../page.ts';
import { replies } from '../replies.ts';

/** An event with its place in the log; the cursor grows with every event. */
interface LoggedEvent {
  cursor: string;
  event: RunwatchEvent;
}

/** The store has lost data: where its log begins anew for a follower. */
interface Reset {
  cursor: string;
  event: null;
}

interface EventFilter {
  runId?: string;
  type?: string;
  /** A cursor, or the id of an event. */
  after?: string;
}

/** Events read at once by a follower that has fallen behind. */
const FOLLOW_CHUNK = 100;

/** The log of events in Redis. Errors of the connection pass through. */
export class EventStore {
  /** @param bell rings whenever events were appended, by whichever process */
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly bell: EventBell,
  ) {}

  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: EventFilter,
    { limit, order = 'oldest' }: { limit: number; order?: 'oldest' | 'newest' | undefined },
  ): Promise<{ items: LoggedEvent[]; nextCursor: string | null }> {
    const after = filter.after?.startsWith('evt_') ? undefined : filter.after;
    const { from = await this.placeOf(filter.after), cursorAt } = await this.open(after);
    const { members, next } = await readPage(this.redis, {
      indexes: filterIndexes(this.keys.events, { run: filter.runId, type: filter.type }),
      order,
      limit,
      from,
    });
    const pipeline = this.redis.pipeline();
    for (const { id } of members) pipeline.hget(this.keys.event(id), 'body');
    const bodies = await replies<string | null>(pipeline);
    const items = members.flatMap(({ score }, at) => {
      const body = bodies[at];
      return body ? [{ cursor: cursorAt(score), event: JSON.parse(body) as RunwatchEvent }] : [];
    });
    return { items, nextCursor: next === null ? null : cursorAt(next) };
  }

  /** The exact text of an event that is sent; null when it is not there. */
  async body(id: string): Promise<string | null> {
    return this.redis.hget(this.keys.event(id), 'body');
  }

  /** The cursor of the latest event. */
  async position(): Promise<string> {
    const { cursorAt, end } = await this.open(undefined);
    return cursorAt(end);
  }

  /**
   * What comes after `filter.after`; ends with the signal. Where the store has lost data since, a reset
   * comes in place of what cannot be known any more, and what comes after it from then on.
   */
  async *follow(
    filter: EventFilter & { after: string },
    signal: AbortSignal,
  ): AsyncIterable<LoggedEvent | Reset> {
    const ear = this.bell.listen(signal);
    try {
      let { after } = filter;
      while (!signal.aborted) {
        const rung = ear.next();
        const items = await this.after({ ...filter, after });
        if (items === 'stale') {
          after = await this.position();
          yield { cursor: after, event: null };
          continue;
        }
        yield* items;
        after = items.at(-1)?.cursor ?? after;
        if (items.length < FOLLOW_CHUNK) await rung;
      }
    } finally {
      ear.close();
    }
  }

  private async after(filter: EventFilter): Promise<LoggedEvent[] | 'stale'> {
    try {
      return (await this.list(filter, { limit: FOLLOW_CHUNK })).items;
    } catch (error) {
      if (error instanceof RunwatchError && error.code === 'stale_cursor') return 'stale';
      throw error;
    }
  }

  private open(cursor: string | undefined) {
    return openCursor(this.redis, this.keys.cursorsOf(this.keys.eventPlace), cursor);
  }

  /** An event's id is as good a place to go on from as a cursor. */
  private async placeOf(after: string | undefined): Promise<string | undefined> {
    if (!after?.startsWith('evt_')) return undefined;
    const place = await this.redis.hget(this.keys.event(after), 'place');
    if (place !== null) return place;
    throw new RunwatchError(`there is no event ${after}`, { code: 'invalid_cursor' });
  }
}
