import type { Redis } from 'ioredis';
import type { PageMark } from '../../core/feed/page-layout.ts';
import type { FeedPlan } from '../../core/feed/plan.ts';
import type { RunList } from '../../core/feed/run-list.ts';
import type { ListHint, ListTrust } from '../../core/feed/list-trust.ts';
import { STATUS_LABELS } from '../../core/run/snapshot.ts';
import { parseWatchId, type WatchKey } from '../../core/watch/watch.ts';
import type { StoredWatch } from '../watch-change.ts';
import { runsIndex } from '../indexes.ts';
import type { Keys } from '../keys.ts';
import { walkNumbers } from '../numbers.ts';
import { jsonOrNull, replies } from '../connection.ts';
import type { ScheduleStore } from './schedule-store.ts';
import type { WatchStore } from './watch-store.ts';

/** A plan as it is kept: which pages are read, and at what cost. */
export interface StoredPlan extends Omit<FeedPlan, 'singles'> {
  /** When it was made, milliseconds since the epoch. */
  at: number;
  /** How many there were. */
  watches: number;
}

/** A page as it was last read. */
interface StoredMark extends PageMark {
  /** How many bytes it had. */
  bytes: number;
}

/** What is known of one list. */
export interface ListRecord {
  list: RunList;
  trust: ListTrust | null;
  /** Runs on a page that fits; null for as many as the source gives. */
  size: number | null;
  marks: StoredMark[];
  /** Names of marks that are too old to go by: the next plan removes them. */
  oldMarks: string[];
}

/** What a plan removes. */
export interface OldTraces {
  lists: readonly Pick<ListRecord, 'list' | 'oldMarks'>[];
  /** Runs that have hints, and are watched no more. */
  hinted: readonly string[];
}

/** What a page is taken in with. */
export interface PageRecord {
  /** The watches of the runs on it; null for runs that are not watched. Their next polls are known. */
  watches: (StoredWatch | null)[];
  /** Hints about them that no single poll has judged. */
  hints: (ListHint | null)[];
  trust: ListTrust | null;
  /** When a single poll last checked the list; 0 for never. */
  checkedAt: number;
}

/** What a page leaves behind. */
export interface PageTrace {
  mark: StoredMark;
  hints: { runId: string; hint: ListHint }[];
  /** Runs with judged hints. */
  judged: string[];
  checkedAt: number | null;
  trust: ListTrust | null;
}

/** Watches read in one go. */
const CHUNK = 200;

/** Kept this long after the last write: well beyond the longest time that a list is avoided, ms. */
const KEPT_MS = 7_200_000;

/** How the field of a page begins in the hash of its list. */
const MARK = 'mark';

/**
 * What the list feed keeps of a source's lists: the plan, the hints, and of each list its trust, page
 * size, last check and where its pages lie. A list has a hash of its own, so that it expires however
 * busy the others are. Written under the claims of a plan or page alone.
 */
export class FeedStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly watches: Pick<WatchStore, 'getMany' | 'getManyBare'>,
    private readonly schedule: Pick<ScheduleStore, 'dueTimes'>,
  ) {}

  async plan(source: string): Promise<StoredPlan | null> {
    return jsonOrNull(await this.redis.get(this.keys.listPlan(source))) as StoredPlan | null;
  }

  /**
   * What is known of lists.
   * @param since marks of pages that were read before, ms since the epoch, are too old
   */
  async read(lists: readonly RunList[], since: number): Promise<ListRecord[]> {
    const pipeline = this.redis.pipeline();
    for (const list of lists) pipeline.hgetall(this.keys.list(list));
    const found = await replies<Record<string, string>>(pipeline);
    return lists.map((list, at) => ({ list, ...listRecord(found[at] ?? {}, since) }));
  }

  async putPlan(source: string, plan: StoredPlan, old: OldTraces): Promise<void> {
    const pipeline = this.redis.pipeline();
    pipeline.set(this.keys.listPlan(source), JSON.stringify(plan), 'PX', KEPT_MS);
    for (const { list, oldMarks } of old.lists) {
      if (oldMarks.length > 0) pipeline.hdel(this.keys.list(list), ...oldMarks);
    }
    for (let at = 0; at < old.hinted.length; at += CHUNK) {
      pipeline.hdel(this.keys.listHints(source), ...old.hinted.slice(at, at + CHUNK));
    }
    await replies(pipeline);
  }

  /**
   * What a page is taken in with: the watches of the runs on it, with their next polls.
   * @param isBare without metadata, as those of {@link active}
   */
  async pageRecord(list: RunList, runIds: readonly string[], isBare: boolean): Promise<PageRecord> {
    const watchKeys = runIds.map((runId) => ({ source: list.source, runId }));
    const [[trust = null, checked], watches, hints] = await Promise.all([
      this.redis.hmget(this.keys.list(list), 'trust', 'checked'),
      this.watchesOf(watchKeys, isBare),
      this.hints(list.source, runIds),
    ]);
    return {
      watches,
      hints,
      trust: jsonOrNull(trust) as ListTrust | null,
      checkedAt: Number(checked ?? 0),
    };
  }

  /** Hints about runs that no single poll has judged. */
  async hints(source: string, runIds: readonly string[]): Promise<(ListHint | null)[]> {
    if (runIds.length === 0) return [];
    const texts = await this.redis.hmget(this.keys.listHints(source), ...runIds);
    return texts.map(jsonOrNull) as (ListHint | null)[];
  }

  /** The runs with such hints. */
  hintedRuns(source: string): Promise<string[]> {
    return this.redis.hkeys(this.keys.listHints(source));
  }

  async putPage(list: RunList, trace: PageTrace): Promise<void> {
    const { mark, hints, judged, checkedAt, trust } = trace;
    const [key, hintsKey] = [this.keys.list(list), this.keys.listHints(list.source)];
    const pipeline = this.redis.pipeline();
    pipeline.hset(key, {
      [markField(mark.page)]: JSON.stringify(mark),
      ...(checkedAt !== null && { checked: checkedAt }),
      ...(trust !== null && { trust: JSON.stringify(trust) }),
    });
    pipeline.pexpire(key, KEPT_MS);
    if (judged.length > 0) pipeline.hdel(hintsKey, ...judged);
    if (hints.length > 0) {
      const texts = hints.map(({ runId, hint }) => [runId, JSON.stringify(hint)]);
      pipeline.hset(hintsKey, ...texts.flat()).pexpire(hintsKey, KEPT_MS);
    }
    await replies(pipeline);
  }

  async putTrust(list: RunList, trust: ListTrust): Promise<void> {
    await this.put(list, 'trust', JSON.stringify(trust));
  }

  async putSize(list: RunList, size: number): Promise<void> {
    await this.put(list, 'size', String(size));
  }

  /** Active watches of a source with their next polls, a chunk at a time. */
  async *active(source: string, isBare: boolean): AsyncIterable<StoredWatch[]> {
    for (const label of STATUS_LABELS) {
      let from: string | undefined;
      do {
        const { rows, next } = await walkNumbers(this.redis, this.keys, {
          kind: 'name',
          fields: [[runsIndex(this.keys, source, label)]],
          order: 'newest',
          limit: CHUNK,
          from,
        });
        const watchKeys = rows.map(({ watch }) => parseWatchId(watch));
        const watches = await this.watchesOf(watchKeys, isBare);
        if (watches.length > 0) yield watches.filter((one): one is StoredWatch => one !== null);
        from = next ?? undefined;
      } while (from !== undefined);
    }
  }

  private async watchesOf(watchKeys: WatchKey[], isBare: boolean): Promise<(StoredWatch | null)[]> {
    const [first] = watchKeys;
    if (first === undefined) return [];
    const [found, dueTimes] = await Promise.all([
      isBare ? this.watches.getManyBare(watchKeys) : this.watches.getMany(watchKeys),
      this.schedule.dueTimes(
        first.source,
        watchKeys.map(({ runId }) => runId),
      ),
    ]);
    return found.map((stored, at) => {
      if (stored !== null) stored.watch.nextPollAt = dueTimes[at] ?? null;
      return stored;
    });
  }

  private async put(list: RunList, what: string, text: string): Promise<void> {
    const key = this.keys.list(list);
    await replies(this.redis.pipeline().hset(key, what, text).pexpire(key, KEPT_MS));
  }
}

function markField(page: number): string {
  return `${MARK}${page}`;
}

/** What the fields of a list's hash say. @param since marks of pages that were read before are too old */
function listRecord(fields: Record<string, string>, since: number): Omit<ListRecord, 'list'> {
  const { trust = null, size } = fields;
  const marks: StoredMark[] = [];
  const oldMarks: string[] = [];
  for (const [name, text] of Object.entries(fields)) {
    if (!name.startsWith(MARK)) continue;
    const mark = JSON.parse(text) as StoredMark;
    if (mark.at > since) marks.push(mark);
    else oldMarks.push(name);
  }
  return {
    trust: jsonOrNull(trust) as ListTrust | null,
    size: size === undefined ? null : Number(size),
    marks,
    oldMarks,
  };
}
