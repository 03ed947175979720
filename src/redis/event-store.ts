import type { Redis } from 'ioredis';
import { RunwatchError } from '../core/errors.ts';
import type { RunwatchEvent } from '../core/event.ts';
import type { Keys } from './keys.ts';
import type { EventBell } from './event-bell.ts';
import { filterIndexes, readPage } from './page.ts';
import { replies } from './replies.ts';

/** An event with its place in the log; the cursor grows with every event. */
interface LoggedEvent {
  cursor: string;
  event: RunwatchEvent;
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

  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`. */
  async list(
    filter: EventFilter,
    { limit, order = 'oldest' }: { limit: number; order?: 'oldest' | 'newest' | undefined },
  ): Promise<{ items: LoggedEvent[]; nextCursor: string | null }> {
    const { members, nextCursor } = await readPage(this.redis, {
      indexes: filterIndexes(this.keys.events, { run: filter.runId, type: filter.type }),
      order,
      limit,
      cursor: await this.placeOf(filter.after),
    });
    const pipeline = this.redis.pipeline();
    for (const { id } of members) pipeline.hget(this.keys.event(id), 'body');
    const bodies = await replies<string | null>(pipeline);
    const items = members.flatMap(({ score }, at) => {
      const body = bodies[at];
      return body ? [{ cursor: score, event: JSON.parse(body) as RunwatchEvent }] : [];
    });
    return { items, nextCursor };
  }

  /** The exact text of an event that is sent; null when it is not there. */
  async body(id: string): Promise<string | null> {
    return this.redis.hget(this.keys.event(id), 'body');
  }

  /** The cursor of the latest event. */
  async position(): Promise<string> {
    return (await this.redis.get(this.keys.eventPlace)) ?? '0';
  }

  /** What comes after `filter.after`; ends with the signal. */
  async *follow(
    filter: EventFilter & { after: string },
    signal: AbortSignal,
  ): AsyncIterable<LoggedEvent> {
    const ear = this.bell.listen(signal);
    try {
      let { after } = filter;
      while (!signal.aborted) {
        const rung = ear.next();
        const { items } = await this.list({ ...filter, after }, { limit: FOLLOW_CHUNK });
        yield* items;
        after = items.at(-1)?.cursor ?? after;
        if (items.length < FOLLOW_CHUNK) await rung;
      }
    } finally {
      ear.close();
    }
  }

  /** An event's id is as good a place to go on from as a cursor. */
  private async placeOf(after: string | undefined): Promise<string | undefined> {
    if (!after?.startsWith('evt_')) return after;
    const place = await this.redis.hget(this.keys.event(after), 'place');
    if (place !== null) return place;
    throw new RunwatchError(`there is no event ${after}`, { code: 'invalid_cursor' });
  }
}
