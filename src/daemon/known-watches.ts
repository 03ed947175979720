import { watchId, type Watch, type WatchKey } from '../core/watch/watch.ts';
import type { WatchChannel } from '../redis/channels.ts';
import type { EpochStore } from '../redis/stores/epoch-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from './fault-log.ts';
import type { StoreGuard } from './store-guard.ts';

/** The most registrations that a process remembers: the newest. */
const MOST = 20_000;

/** Watches read by one command. */
const CHUNK = 200;

/** What is remembered of a watch: its registration, and what its next events go by. */
const KNOWN = [
  'source',
  'runId',
  'registeredBy',
  'subscriptions',
  'metadata',
  'profile',
  'maxDelayMs',
  'registeredAt',
  'timeoutAt',
  'sequence',
  'pastEnds',
] as const satisfies (keyof Watch)[];

export type KnownWatch = Pick<Watch, (typeof KNOWN)[number]>;

/** What polls change of it: the number of its last event, and how many ends it has had. */
interface Progress {
  sequence: number;
  pastEnds: number;
}

/**
 * The registrations of active watches that this process knows, in memory, with webhooks sealed as in the
 * store. Watches that the store loses are registered again from here.
 */
export class KnownWatches {
  private readonly texts = new Map<string, { text: string } & Progress>();
  /** Watches that other processes registered, not read yet. */
  private readonly unread = new Map<string, WatchKey>();

  constructor(private readonly watches: Pick<WatchStore, 'getMany' | 'active'>) {}

  get size(): number {
    return this.texts.size;
  }

  /** Remembers a watch that was written. */
  note(watch: Watch): void {
    if (watch.state !== 'active') return this.forget(watch);
    const id = watchId(watch);
    this.unread.delete(id);
    this.texts.delete(id);
    const known = Object.fromEntries(KNOWN.map((name) => [name, watch[name]]));
    const progress = { sequence: watch.sequence, pastEnds: watch.pastEnds.length };
    this.texts.set(id, { text: JSON.stringify(known), ...progress });
    const [oldest] = this.texts.keys();
    if (this.texts.size > MOST && oldest !== undefined) this.texts.delete(oldest);
  }

  /** Remembers a watch that was polled; cheap for a known watch. */
  polled(watch: Watch): void {
    if (watch.state !== 'active') return this.forget(watch);
    const known = this.texts.get(watchId(watch));
    if (known?.pastEnds === watch.pastEnds.length) known.sequence = watch.sequence;
    else if (known !== undefined || this.texts.size < MOST) this.note(watch);
  }

  forget(key: WatchKey): void {
    this.texts.delete(watchId(key));
    this.unread.delete(watchId(key));
  }

  /** Notes that another process registered the watch. */
  expect(key: WatchKey): void {
    if (this.unread.size < MOST) this.unread.set(watchId(key), key);
  }

  /** Reads the watches that other processes registered. */
  async catchUp(): Promise<void> {
    const keys = [...this.unread.values()];
    for (const found of await inChunks(keys, (chunk) => this.watches.getMany(chunk))) {
      if (found !== null) this.note(found.watch);
    }
    for (const key of keys) this.unread.delete(watchId(key));
  }

  /** Reads the active watches of the store, up to the limit. */
  async load(): Promise<void> {
    for await (const keys of this.watches.active(CHUNK)) {
      for (const stored of await this.watches.getMany(keys)) {
        if (stored !== null && !this.texts.has(watchId(stored.watch))) this.note(stored.watch);
      }
    }
  }

  /** Known watches that are missing from the store; drops those that have ended there. */
  async missing(): Promise<KnownWatch[]> {
    const known = [...this.texts.values()].map(({ text, sequence }) =>
      Object.assign(JSON.parse(text) as KnownWatch, { sequence }),
    );
    const found = await inChunks(known, (chunk) => this.watches.getMany(chunk));
    for (const stored of found) if (stored !== null) this.polled(stored.watch);
    return known.filter((_, at) => found[at] === null);
  }
}

async function inChunks<Item, Found>(
  items: readonly Item[],
  read: (chunk: Item[]) => Promise<Found[]>,
): Promise<Found[]> {
  const found: Found[] = [];
  for (let at = 0; at < items.length; at += CHUNK) {
    found.push(...(await read(items.slice(at, at + CHUNK))));
  }
  return found;
}

interface WatchNotesDependencies {
  known: KnownWatches;
  channel: WatchChannel;
  epochs: Pick<EpochStore, 'read'>;
  guard: Pick<StoreGuard, 'saw'>;
  log: Logger;
}

/** Keeps the known watches of all processes up to date. Never throws. */
export interface WatchNotes {
  registered(watches: readonly Watch[]): void;
  polled(watch: Watch): void;
  /** The watch has other subscriptions. */
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
      epochs
        .read()
        .then(({ epochs: [epoch = ''], watches: count }) => guard.saw({ epoch, watches: count }))
        .catch(onError);
    },
    polled(watch) {
      if (watch.state === 'active') known.polled(watch);
      else end(watch);
    },
    // This process gets the message too, and reads the watch again.
    changed: (key) => publish('registered', [key]),
    cancelled: end,
  };
}
