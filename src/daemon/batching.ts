import type { EndpointFilter } from '../core/delivery/delivery.ts';
import type { StatisticsLookup } from '../core/cadence/hazard.ts';
import { listMember } from '../core/feed/list-member.ts';
import type { SourceLoad } from '../core/cadence/load.ts';
import type { PollPolicy } from '../core/watch/observation.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { LookAtListDependencies } from '../poll/list-look.ts';
import { createListSpotter } from '../poll/list-spotter.ts';
import { createLookAtList } from '../poll/look-at-list.ts';
import { createSinglePolls } from '../poll/single-polls.ts';
import type { Schedule } from '../poll/schedule.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';

interface BatchingDependencies extends Omit<
  LookAtListDependencies,
  'polls' | 'memberOf' | 'minIntervalMs' | 'watches'
> {
  /** False where every run is to be polled by itself. */
  isOn: boolean;
  watches: WatchStore;
  scheduleOf: (source: string) => Schedule | undefined;
  policy: PollPolicy;
  statistics: { lookup: StatisticsLookup };
  loadOf: (source: string) => SourceLoad;
  wants: EndpointFilter;
  onError: (error: unknown) => void;
}

/** Polls runs of one workflow by reading the list that they are on, where that pays. */
export interface Batching {
  /** Takes note of a watch that was just polled: the list of its workflow may be worth reading. */
  notice(watch: Watch): void;
  /** Looks at a list that was claimed. */
  look: ReturnType<typeof createLookAtList>;
}

export function createBatching(deps: BatchingDependencies): Batching {
  if (!deps.isOn) return { notice: () => undefined, look: async () => null };
  const { policy, now, scheduleOf } = deps;
  const spot = createListSpotter(now);
  return {
    notice(watch) {
      const list = spot(watch);
      if (list === null) return;
      scheduleOf(list.source)?.enterList(list).catch(deps.onError);
    },
    look: createLookAtList({
      ...deps,
      minIntervalMs: policy.minIntervalMs,
      polls: createSinglePolls(deps),
      memberOf: (stored) =>
        listMember(stored, {
          ...deps,
          statistics: deps.statistics.lookup,
          load: deps.loadOf(stored.watch.source),
          now: now(),
        }),
    }),
  };
}
