import type { Redis } from 'ioredis';
import { openCursor } from '../cursor.ts';
import { nextGoneCheck } from '../../core/watch/observe.ts';
import { STATUS_LABELS } from '../../core/run/snapshot.ts';
import type { WatchChange } from '../../core/watch/watch-change.ts';
import {
  parseWatchId,
  WATCH_STATES,
  watchId,
  type StoredWatch,
  type Watch,
  type WatchKey,
  type WatchState,
} from '../../core/watch/watch.ts';
import { filterGroups, readMergedPage, readPage } from '../page.ts';
import { declaredKeys } from '../declared-keys.ts';
import { eventIndexes, deliveryPlan, runsIndex, watchIndexes, type Keys } from '../keys.ts';
import { replies } from '../replies.ts';
import { learningPlan } from './statistics-store.ts';
import { readWatch, writeDoc, writeHead } from './watch-record.ts';

/** Of the values of one field, a watch has any. */
export interface WatchFilter {
  state?: readonly string[];
  status?: readonly string[];
  source?: string;
  workflowId?: readonly string[];
}

/** What became of a write of a poll: what was due by it, or why it was not written. */
type Committed = string[] | 'changed' | 'lost';

/** Watches in Redis. Errors of the connection pass through. */
export class WatchStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  async get(key: WatchKey): Promise<StoredWatch | null> {
    return readWatch(key, await this.redis.get(this.keys.watch(key)));
  }

  async getMany(wanted: WatchKey[]): Promise<(StoredWatch | null)[]> {
    if (wanted.length === 0) return [];
    const texts = await this.redis.mget(wanted.map((key) => this.keys.watch(key)));
    return wanted.map((key, at) => readWatch(key, texts[at] ?? null));
  }

  /**
   * Writes changes, each atomically and only if its watch is as it was when read.
   * @returns for each change, the pools at which deliveries are due now; null on a conflict
   */
  async commitMany(changes: readonly WatchChange[]): Promise<(string[] | null)[]> {
    const pipeline = this.redis.pipeline();
    for (const change of changes) pipeline.rwCommitWatch(...commitArguments(this.keys, change));
    const found = await replies<string[] | number>(pipeline);
    return found.map((reply) => (typeof reply === 'number' ? null : reply));
  }

  /** {@link commitMany} for one change. */
  async commit(change: WatchChange): Promise<string[] | null> {
    const reply = await this.redis.rwCommitWatch(...commitArguments(this.keys, change));
    return typeof reply === 'number' ? null : reply;
  }

  /**
   * Writes what a claimed poll has seen, and ends the claim. `changed`: the watch is not as it was
   * read, and the claim stands. `lost`: another process has the claim by now.
   */
  async commitPoll(change: WatchChange): Promise<Committed> {
    const reply = await this.redis.rwCommitWatch(...commitArguments(this.keys, change));
    if (typeof reply !== 'number') return reply;
    return reply === 0 ? 'changed' : 'lost';
  }

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  async list(
    filter: WatchFilter,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<{ items: Watch[]; nextCursor: string | null }> {
    const { from, cursorAt } = await openCursor(
      this.redis,
      this.keys.cursorsOf(this.keys.watchNumber),
      cursor,
    );
    const page = await readMergedPage(this.redis, {
      groups: filterGroups(this.keys.watches, {
        state: filter.state,
        status: filter.status,
        source: filter.source === undefined ? undefined : [filter.source],
        workflow: filter.workflowId,
      }),
      directory: this.keys.watches(),
      order: 'newest',
      limit,
      from,
    });
    const found = await this.getMany(page.members.map(({ id }) => parseWatchId(id)));
    const items = found.flatMap((stored) => (stored === null ? [] : [stored.watch]));
    return { items, nextCursor: page.next === null ? null : cursorAt(page.next) };
  }

  /** Whether any watch has a run of this status. */
  async hasStatus(status: string): Promise<boolean> {
    return (await this.redis.exists(this.keys.watches('status', status))) === 1;
  }

  /** Active watches in the order of their registration, a chunk at a time. */
  async *active(chunk: number): AsyncIterable<WatchKey[]> {
    let from: string | undefined;
    do {
      const page = await readPage(this.redis, {
        indexes: [this.keys.watches('state', 'active')],
        directory: this.keys.watches(),
        order: 'oldest',
        limit: chunk,
        from,
      });
      yield page.members.map(({ id }) => parseWatchId(id));
      from = page.next ?? undefined;
    } while (from !== undefined);
  }

  async countActive(): Promise<number> {
    return this.redis.zcard(this.keys.watches('state', 'active'));
  }

  /** How many watches there are in each state. */
  async counts(): Promise<Record<WatchState, number>> {
    const sizes = await Promise.all(
      WATCH_STATES.map(async (state) => {
        return [state, await this.redis.zcard(this.keys.watches('state', state))] as const;
      }),
    );
    return Object.fromEntries(sizes) as Record<WatchState, number>;
  }

  /** How many active watches of sources there are by the status of their runs. */
  async activeByStatus(
    sources: readonly string[],
  ): Promise<{ source: string; status: string; count: number }[]> {
    const pairs = sources.flatMap((source) => STATUS_LABELS.map((status) => ({ source, status })));
    return Promise.all(
      pairs.map(async ({ source, status }) => {
        const count = await this.redis.zcard(runsIndex(this.keys, source, status));
        return { source, status, count };
      }),
    );
  }

  /** Watches that ended before a time, the longest ended first. */
  async endedBefore(time: number, limit: number): Promise<WatchKey[]> {
    const { watchesEnded } = this.keys;
    const ids = await this.redis.zrangebyscore(watchesEnded, '-inf', time, 'LIMIT', 0, limit);
    return ids.map(parseWatchId);
  }
}

function commitArguments(
  keys: Keys,
  change: WatchChange,
): [keyCount: number, ...args: (string | number)[]] {
  const { before, after } = change;
  const doc = writeDoc(after);
  const effects = effectsOf(keys, change);
  const byPlace = [
    keys.watch(after),
    keys.clock,
    keys.requestClaims(after.source),
    keys.budget(after.source),
    ...keys.requestsDue(after.source),
  ];
  return [
    ...declaredKeys(keys, byPlace, effects),
    before?.version ?? 0,
    writeHead(after),
    doc === before?.doc ? '' : doc,
    effects === null ? '' : JSON.stringify(effects),
    ...scheduleArguments(change),
  ];
}

function scheduleArguments({ after, schedule }: WatchChange): (string | number)[] {
  if (schedule === undefined) return ['', '', '', '', '', ''];
  const about = [schedule.does, after.runId];
  switch (schedule.does) {
    case 'settle': {
      const { token, next, permitMs } = schedule;
      const at = next === null ? '' : Math.max(0, Math.round(next.inMs));
      return [...about, token, at, next?.kind ?? '', permitMs ?? ''];
    }
    case 'enter':
      return [...about, '', Math.round(schedule.withinMs), schedule.kind, ''];
    case 'expedite':
      return [...about, '', Math.round(schedule.withinMs), '', ''];
    case 'leave':
      return [...about, '', '', '', ''];
  }
}

/** What the commit script must do besides writing the record; null where there is nothing. */
function effectsOf(keys: Keys, change: WatchChange) {
  const { after, events, deliveries } = change;
  const places = placesOf(keys, change);
  const learned = learningPlan(keys, change);
  const followed = [places.leave, places.enter, events, deliveries, learned?.samples ?? []];
  if (followed.every((none) => none.length === 0)) return null;
  return {
    ...places,
    member: watchId(after),
    watches: keys.watches(),
    watchNumber: keys.watchNumber,
    ended: keys.watchesEnded,
    ...(after.endedAt !== null && { endedAt: after.endedAt }),
    ...goneCheckOf(keys, change),
    eventPlace: keys.eventPlace,
    eventBell: keys.eventBell,
    epochs: keys.epochs,
    events: events.map((event) => ({
      id: event.id,
      key: keys.event(event.id),
      indexes: eventIndexes(keys, event),
      body: JSON.stringify(event),
    })),
    ...deliveryPlan(keys, deliveries),
    ...(learned !== null && { learned }),
  };
}

/** A watch whose run is gone enters the slow checks with its end, and leaves them when it begins anew. */
function goneCheckOf(keys: Keys, { before, after }: WatchChange) {
  const goneCheckAt = nextGoneCheck(after, after.endedAt ?? 0);
  const wasGone = before?.watch.state === 'gone';
  if (goneCheckAt === null && !wasGone) return {};
  return { goneChecks: keys.goneChecks, wasGone, ...(goneCheckAt !== null && { goneCheckAt }) };
}

/** The indexes that a watch leaves and enters; one that begins gets a new number in all of them. */
function placesOf(keys: Keys, { before, after }: WatchChange) {
  const old = before === null ? [] : watchIndexes(keys, before.watch);
  const now = watchIndexes(keys, after);
  const begins = before === null || before.watch.registeredAt !== after.registeredAt;
  return {
    begins,
    leave: begins ? old : old.filter((index) => !now.includes(index)),
    enter: begins ? now : now.filter((index) => !old.includes(index)),
  };
}
