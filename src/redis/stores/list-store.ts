import type { Redis } from 'ioredis';
import type { ListKey, ListStanding } from '../../core/feed/list-standing.ts';
import { parseWatchId, type StoredWatch } from '../../core/watch/watch.ts';
import { polledIndex } from '../indexes.ts';
import type { Keys } from '../keys.ts';
import { walkNumbers } from '../numbers.ts';
import { readStored } from './history-plan.ts';
import type { ScheduleStore } from './schedule-store.ts';

/** Most watches of one workflow that a list is read for, the newest; the others are polled singly. */
const MAX_WATCHES = 1_000;

/** For how long it is known of a list that it has failed: well beyond the longest time it is left alone. */
const STANDING_KEPT_MS = 7_200_000;

/** What batch polling keeps of lists. Written under the claim of a look alone. */
export class ListStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly schedule: Pick<ScheduleStore, 'dueTimes'>,
  ) {}

  /** All that a look at a list begins with: active watches whose runs have been seen, newest first. */
  async getForLook(list: ListKey): Promise<{
    watches: StoredWatch[];
    standing: ListStanding | null;
  }> {
    const { rows } = await walkNumbers(this.redis, this.keys, {
      kind: 'name',
      indexes: [polledIndex(this.keys, list)],
      order: 'newest',
      limit: MAX_WATCHES,
    });
    const watchKeys = rows.map(({ watch }) => parseWatchId(watch));
    const runIds = watchKeys.map(({ runId }) => runId);
    const [[standing = null, ...records], dueTimes] = await Promise.all([
      this.redis.mgetBuffer(
        this.keys.listStanding(list),
        ...watchKeys.map((key) => this.keys.watch(key)),
      ),
      this.schedule.dueTimes(list.source, runIds),
    ]);
    return {
      watches: watchKeys.flatMap((key, at) => {
        const stored = readStored(key, records[at] ?? null);
        if (stored === null) return [];
        return [{ ...stored, watch: { ...stored.watch, nextPollAt: dueTimes[at] ?? null } }];
      }),
      standing: standing === null ? null : (JSON.parse(standing.toString()) as ListStanding),
    };
  }

  async put(list: ListKey, standing: ListStanding): Promise<void> {
    const text = JSON.stringify(standing);
    await this.redis.set(this.keys.listStanding(list), text, 'PX', STANDING_KEPT_MS);
  }
}
