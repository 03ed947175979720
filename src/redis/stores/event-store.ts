import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import { RunwatchError } from '../../core/errors.ts';
import {
  BATCH_EVENT_TYPES,
  DEFAULT_SYSTEM_EVENTS,
  detectedAt,
  type AnyEvent,
  type EventFilter,
  type LoggedEvent,
  type LogReset,
  type RunwatchEvent,
} from '../../core/event/event.ts';
import { watchOfEvent } from '../../core/event/ids.ts';
import type { WatchKey } from '../../core/watch/watch.ts';
import type { Page } from '../../core/page.ts';
import type { EventBell } from '../channels.ts';
import { openCursor } from '../cursor.ts';
import { CHUNK } from '../index-columns.ts';
import type { Keys } from '../keys.ts';
import { filterFields, readableSources, walkNumbers, type NumberedRow } from '../numbers.ts';
import { effectsOf, RAISE_EVENT } from './event-plan.ts';
import { eventIdOf } from './history-plan.ts';
import { HistoryReader, readRows, type Numbered } from './history-reader.ts';
import { eventsAround, isWithin, type TimeRange } from './number-times.ts';

interface LogFilter extends EventFilter, TimeRange {
  /** Without types: all that are about no run, too. */
  withOwn?: boolean;
}

interface EventPage extends Page<LoggedEvent> {
  /** The cursor of the latest event, whether it matches or not. */
  end: string;
}

interface ListOptions {
  limit: number;
  order?: 'oldest' | 'newest' | undefined;
}

interface PageQuery {
  order: 'oldest' | 'newest';
  limit: number;
  from: string | undefined;
}

/** Walks for one page, each of which skips what is about no run. */
const MOST_WALKS = 20;

/** Events read at once by a follower that has fallen behind. */
const FOLLOW_CHUNK = 100;

/**
 * Followers read at most this often, ms, all at the same moments. Where events come fast, one read takes
 * several, and is enough for all that follow the same. Without it eight dashboards cost twice the CPU at
 * 50 events a second (`bench -- browser`).
 */
const FOLLOW_EVERY_MS = 100;

/** What followers read last, and how many changes of the log were known by then. */
interface SharedRead {
  query: string;
  changes: number;
  page: Promise<EventPage | 'stale'>;
}

/** The log of events in Redis. Errors of the connection pass through. */
export class EventStore {
  private readonly history: HistoryReader;
  private shared: SharedRead | null = null;

  /** @param bell rings whenever events were appended, by whichever process */
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly bell: EventBell,
  ) {
    this.history = new HistoryReader(redis, keys);
  }

  /** Raises an event about runwatch itself. @returns the pools at which deliveries are due now */
  async raise(event: PlannedEvent): Promise<string[]> {
    const { effects = '', named } = effectsOf(this.keys, event);
    return RAISE_EVENT.run(this.redis, {}, { effects }, { further: named });
  }

  /** Oldest first unless asked otherwise. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(filter: LogFilter, { limit, order = 'oldest' }: ListOptions): Promise<EventPage> {
    const after = filter.after?.startsWith('evt_') ? undefined : filter.after;
    const { from = await this.placeOf(filter.after), cursorAt, end } = await this.open(after);
    const page = { order, limit, from };
    const { items, next } =
      filter.runs === undefined
        ? await this.ofAll(filter, page)
        : await this.ofRuns(filter.runs, filter, page);
    // Of what is appended while chunks are read, a later one may be found and an earlier one missed.
    const last = Number(end);
    const known = items.filter(({ number }) => number <= last);
    const isOver = next === null || (order === 'oldest' && Number(next) >= last);
    return {
      items: known.map(({ number, item }) => ({ cursor: cursorAt(String(number)), event: item })),
      nextCursor: isOver ? null : cursorAt(next),
      end: cursorAt(end),
    };
  }

  private async ofAll(filter: Omit<LogFilter, 'runs' | 'after'>, page: PageQuery) {
    const { type, workflowId, sources, withOwn = false, since, until, ...rest } = filter;
    rest satisfies Record<string, never>;
    const times = { since, until };
    const { redis, keys } = this;
    const walk = {
      order: page.order,
      kind: 'event' as const,
      fields: filterFields(keys.events, {
        type,
        workflow: workflowId,
        source: await readableSources(redis, keys, sources),
      }),
      within: await eventsAround(redis, keys, times),
    };
    const isMeant = ({ watch, text }: NumberedRow) =>
      watch !== '' || withOwn || type !== undefined || isOwnByDefault(text);
    // One more than is wanted says whether any is left; a chunk may begin with all that are not within.
    const [more, least] = walk.within === undefined ? [0, 0] : [1, CHUNK];
    const items: Numbered<AnyEvent>[] = [];
    let { from } = page;
    for (let walks = 1; ; walks += 1) {
      const limit = Math.max(least, page.limit + more - items.length);
      const found = await walkNumbers(redis, keys, { ...walk, from, limit });
      const read = readRows('event', found.rows.filter(isMeant));
      const meant = read.filter(({ item }) => isWithin(detectedAt(item), times));
      items.push(...meant);
      const isFull = meant.length === found.rows.length || items.length > page.limit;
      if (isFull || walks === MOST_WALKS || found.next === null)
        return cutTo(page.limit, items, found.next);
      from = found.next;
    }
  }

  private ofRuns(runs: readonly WatchKey[], filter: LogFilter, page: PageQuery) {
    const matches = (event: RunwatchEvent) => isWanted(event, filter);
    return this.history.events(runs, { ...page, matches });
  }

  /** The exact text of an event that is sent; null when it is not there. */
  async body(id: string): Promise<string | null> {
    return (await this.one(id))?.body ?? null;
  }

  private async one(id: string): Promise<{ place: string; body: string } | null> {
    const found = await this.history.one(this.keys.event(id), watchOfEvent(id), ['place', 'body']);
    if (found === null) return null;
    if (found.is === 'live') {
      const [place = '', body = ''] = found.fields;
      return { place, body };
    }
    const kept = found.history.events.find(({ body }) => eventIdOf(body) === id);
    return kept === undefined ? null : { place: String(kept.place), body: kept.body };
  }

  /** All events, also those that are about no run, the newest first, a chunk at a time. */
  async *newest(chunk: number): AsyncIterable<AnyEvent[]> {
    let after: string | undefined;
    do {
      const all = { withOwn: true, ...(after !== undefined && { after }) };
      const { items, nextCursor } = await this.list(all, { limit: chunk, order: 'newest' });
      yield items.map(({ event }) => event);
      after = nextCursor ?? undefined;
    } while (after !== undefined);
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
  ): AsyncIterable<LoggedEvent | LogReset> {
    const ear = this.bell.listen(signal);
    try {
      let { after } = filter;
      while (!signal.aborted) {
        const rung = ear.next();
        const readAt = performance.now();
        const page = await this.sharedAfter({ ...filter, after });
        if (page === 'stale') {
          after = await this.position();
          yield { cursor: after, event: null };
          continue;
        }
        yield* page.items;
        // The last event examined, not the last match: nothing is examined twice.
        after = page.nextCursor ?? page.end;
        if (page.nextCursor !== null) continue;
        await rung;
        await passed(nextMoment(readAt) - performance.now(), signal);
      }
    } finally {
      ear.close();
    }
  }

  /** What another follower has read serves as well, unless the log has changed since. */
  private sharedAfter(filter: EventFilter): Promise<EventPage | 'stale'> {
    const query = JSON.stringify(filter);
    const { changes } = this.bell;
    if (this.shared?.query === query && this.shared.changes === changes) return this.shared.page;
    const page = this.after(filter);
    this.shared = { query, changes, page };
    page.catch(() => (this.shared = null));
    return page;
  }

  private async after(filter: EventFilter): Promise<EventPage | 'stale'> {
    try {
      return await this.list(filter, { limit: FOLLOW_CHUNK });
    } catch (error) {
      if (error instanceof RunwatchError && error.code === 'stale_cursor') return 'stale';
      throw error;
    }
  }

  private open(cursor: string | undefined) {
    return openCursor(this.redis, this.keys, this.keys.eventPlace, cursor);
  }

  /** An event's id is as good a place to go on from as a cursor. */
  private async placeOf(after: string | undefined): Promise<string | undefined> {
    if (!after?.startsWith('evt_')) return undefined;
    const found = await this.one(after);
    if (found !== null) return found.place;
    throw new RunwatchError(`there is no event ${after}`, { code: 'invalid_cursor' });
  }
}

function cutTo(limit: number, items: readonly Numbered<AnyEvent>[], next: string | null) {
  const page = items.slice(0, limit);
  return { items: page, next: items.length > limit ? String(page.at(-1)?.number) : next };
}

/** Whether an event about no run is listed although no type names it. */
function isOwnByDefault(text: string): boolean {
  const { type } = JSON.parse(text) as AnyEvent;
  return DEFAULT_SYSTEM_EVENTS.has(type) || (BATCH_EVENT_TYPES as readonly string[]).includes(type);
}

/** The first moment after another at which followers read. */
function nextMoment(ms: number): number {
  return (Math.floor(ms / FOLLOW_EVERY_MS) + 1) * FOLLOW_EVERY_MS;
}

/** Waits, less long where the signal aborts. */
async function passed(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal }).catch(() => undefined);
}

/** Of some runs, which are found by their watches, and after a place of the log. */
type RunFilter = Omit<LogFilter, 'runs' | 'after' | 'withOwn'>;

function isWanted(
  event: RunwatchEvent,
  { type, workflowId, sources, since, until, ...rest }: RunFilter,
): boolean {
  rest satisfies Record<string, never>;
  const { run, watch } = event.data;
  return (
    (type === undefined || type.includes(event.type)) &&
    (workflowId === undefined || workflowId.includes(run?.workflow_id ?? '')) &&
    (sources === undefined || sources.includes(watch.source)) &&
    isWithin(detectedAt(event), { since, until })
  );
}
