import type { Redis } from 'ioredis';
import type {
  FeedRecord,
  ListRecord,
  PageRecord,
  PageTrace,
  StoredMark,
  StoredPlan,
} from '../../core/feed/record.ts';
import type { RunList } from '../../core/feed/run-list.ts';
import type { ListHint, ListTrust } from '../../core/feed/list-trust.ts';
import { STATUS_LABELS } from '../../core/run/snapshot.ts';
import { parseWatchId, type StoredWatch, type WatchKey } from '../../core/watch/watch.ts';
import { runsIndex } from '../indexes.ts';
import type { Keys } from '../keys.ts';
import { walkNumbers } from '../numbers.ts';
import { jsonOrNull, replies } from '../connection.ts';
import type { ScheduleStore } from './schedule-store.ts';
import type { WatchStore } from './watch-store.ts';

/** Watches read in one go. */
const CHUNK = 200;

/** Kept this long after the last write: well beyond the longest time that a list is avoided, ms. */
const KEPT_MS = 7_200_000;

const PLAN = 'planned';

/**
 * What the list feed keeps of a source's lists, in one hash of JSON. That is the plan, and of each
 * list its trust, page size, last check and where its pages lie. Hints stand in a hash of their
 * own. Written under the claims of a plan or page alone.
 */
export class FeedStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly watches: Pick<WatchStore, 'getMany'>,
    private readonly schedule: Pick<ScheduleStore, 'dueTimes'>,
  ) {}

  async plan(source: string): Promise<StoredPlan | null> {
    const text = await this.redis.hget(this.keys.feed(source), PLAN);
    return jsonOrNull(text) as StoredPlan | null;
  }

  /**
   * The plan, and what is known of lists.
   * @param since marks of pages that were read before, ms since the epoch, are too old
   */
  async read(source: string, since: number): Promise<FeedRecord> {
    const fields = await this.redis.hgetall(this.keys.feed(source));
    const oldMarks: string[] = [];
    const lists = new Map<string | null, ListRecord>();
    for (const [name, text] of Object.entries(fields)) {
      const slash = name.indexOf('/');
      if (slash === -1) continue;
      const [what, workflowId] = [name.slice(0, slash), name.slice(slash + 1) || null];
      const list = lists.get(workflowId) ?? { trust: null, size: null, marks: [] };
      lists.set(workflowId, list);
      if (what === 'trust') list.trust = JSON.parse(text) as ListTrust;
      else if (what === 'size') list.size = Number(text);
      if (!what.startsWith('mark')) continue;
      const mark = JSON.parse(text) as StoredMark;
      if (mark.at > since) list.marks.push(mark);
      else oldMarks.push(name);
    }
    return { plan: jsonOrNull(fields[PLAN] ?? null) as StoredPlan | null, lists, oldMarks };
  }

  async putPlan(source: string, plan: StoredPlan, oldMarks: readonly string[]): Promise<void> {
    const key = this.keys.feed(source);
    const pipeline = this.redis.pipeline().hset(key, PLAN, JSON.stringify(plan));
    if (oldMarks.length > 0) pipeline.hdel(key, ...oldMarks);
    await replies(pipeline.pexpire(key, KEPT_MS));
  }

  /** What a page is taken in with: the watches of the runs on it, with their next polls. */
  async pageRecord(list: RunList, runIds: readonly string[]): Promise<PageRecord> {
    const watchKeys = runIds.map((runId) => ({ source: list.source, runId }));
    const about = ['trust', 'checked'].map((what) => field(what, list));
    const [[trust = null, checked], watches, hints] = await Promise.all([
      this.redis.hmget(this.keys.feed(list.source), ...about),
      this.watchesOf(watchKeys),
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
    const texts = await this.redis.hmget(this.keys.feedHints(source), ...runIds);
    return texts.map(jsonOrNull) as (ListHint | null)[];
  }

  async putPage(list: RunList, trace: PageTrace): Promise<void> {
    const { mark, hints, judged, checkedAt, trust } = trace;
    const [key, hintsKey] = [this.keys.feed(list.source), this.keys.feedHints(list.source)];
    const pipeline = this.redis.pipeline();
    pipeline.hset(key, {
      [field(`mark${mark.page}`, list)]: JSON.stringify(mark),
      ...(checkedAt !== null && { [field('checked', list)]: checkedAt }),
      ...(trust !== null && { [field('trust', list)]: JSON.stringify(trust) }),
    });
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
  async *active(source: string): AsyncIterable<StoredWatch[]> {
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
        const watches = await this.watchesOf(rows.map(({ watch }) => parseWatchId(watch)));
        if (watches.length > 0) yield watches.filter((one): one is StoredWatch => one !== null);
        from = next ?? undefined;
      } while (from !== undefined);
    }
  }

  private async watchesOf(watchKeys: WatchKey[]): Promise<(StoredWatch | null)[]> {
    const [first] = watchKeys;
    if (first === undefined) return [];
    const [found, dueTimes] = await Promise.all([
      this.watches.getMany(watchKeys),
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
    await this.redis.hset(this.keys.feed(list.source), field(what, list), text);
  }
}

function field(what: string, { workflowId }: Pick<RunList, 'workflowId'>): string {
  return `${what}/${workflowId ?? ''}`;
}
