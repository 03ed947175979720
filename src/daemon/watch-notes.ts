import type { Watch, WatchKey } from '../core/watch/watch.ts';
import type { EpochStore } from '../redis/stores/epoch-store.ts';
import type { WatchChannel } from '../redis/channels.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './faults.ts';
import type { KnownWatches } from './known-watches.ts';
import type { StoreGuard } from './store-guard.ts';

interface WatchNotesDependencies {
  known: KnownWatches;
  channel: WatchChannel;
  epochs: Pick<EpochStore, 'watches'>;
  guard: Pick<StoreGuard, 'saw'>;
  log: Logger;
}

/** Keeps what processes remember of watches up to date, here and in the other processes. Never throws. */
export interface WatchNotes {
  registered(watches: readonly Watch[]): void;
  polled(watch: Watch): void;
  /** Its subscriptions are others than before. */
  changed(key: WatchKey): void;
  cancelled(key: WatchKey): void;
}

export function createWatchNotes({
  known,
  channel,
  epochs,
  guard,
  log,
}: WatchNotesDependencies): WatchNotes {
  const onError = faultLog(log, 'watch_notes');
  channel.listen(({ kind, keys }) => {
    for (const key of keys) {
      if (kind === 'ended') known.forget(key);
      else known.expect(key);
    }
  });
  const publish = (kind: 'registered' | 'ended', keys: WatchKey[]) => {
    channel.publish({ kind, keys }).catch(onError);
  };
  const end = (key: WatchKey) => {
    known.forget(key);
    publish('ended', [key]);
  };

  return {
    registered(watches) {
      const active = watches.filter(({ state }) => state === 'active');
      if (active.length === 0) return;
      for (const watch of active) known.note(watch);
      publish('registered', active);
      epochs.watches().then((found) => guard.saw(found), onError);
    },
    polled(watch) {
      if (watch.state === 'active') known.polled(watch);
      else end(watch);
    },
    // This process hears of it, too, and reads the watch again.
    changed: (key) => publish('registered', [key]),
    cancelled: end,
  };
}
