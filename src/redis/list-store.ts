import type { Redis } from 'ioredis';
import type { ListKey, ListStanding } from '../core/list-standing.ts';
import type { SourcePaused } from '../core/look.ts';
import { parseWatchId, type StoredWatch } from '../core/watch.ts';
import { polledIndex, type Keys } from './keys.ts';
import { readPage } from './page.ts';
import { readWatch } from './watch-record.ts';

/** Most watches of one workflow that a list is read for, the newest; the others are polled singly. */
const MAX_WATCHES = 1_000;

/** For how long it is known of a list that it has failed: well beyond the longest time it is left alone. */
const STANDING_KEPT_MS = 7_200_000;

/** What batch polling keeps of lists. Written by the one job of each list alone. */
export class ListStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** All that a look at a list begins with: active watches whose runs have been seen, newest first. */
  async getForLook(list: ListKey): Promise<{
    watches: StoredWatch[];
    standing: ListStanding | null;
    pause: SourcePaused | null;
  }> {
    const { members } = await readPage(this.redis, {
      indexes: [polledIndex(this.keys, list)],
      directory: this.keys.watches(),
      order: 'newest',
      limit: MAX_WATCHES,
    });
    const watchKeys = members.map(({ id }) => parseWatchId(id));
    const [pause = null, standing = null, ...texts] = await this.redis.mget(
      this.keys.sourcePause(list.source),
      this.keys.listStanding(list),
      ...watchKeys.map((key) => this.keys.watch(key)),
    );
    return {
      watches: watchKeys.flatMap((key, at) => readWatch(key, texts[at] ?? null) ?? []),
      standing: standing === null ? null : (JSON.parse(standing) as ListStanding),
      pause: pause === null ? null : (JSON.parse(pause) as SourcePaused),
    };
  }

  async put(list: ListKey, standing: ListStanding): Promise<void> {
    const text = JSON.stringify(standing);
    await this.redis.set(this.keys.listStanding(list), text, 'PX', STANDING_KEPT_MS);
  }
}
