import { chunksOf } from '../core/arrays.ts';
import { KeptTexts, type KeptText } from '../core/kept-texts.ts';
import { parseWatchId, watchId, type Watch, type WatchKey } from '../core/watch/watch.ts';
import type { WatchChannel } from '../redis/channels.ts';
import type { EpochStore } from '../redis/stores/epoch-store.ts';
import type { WatchStore } from '../redis/stores/watch-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { faultLog } from '../fault-log.ts';

/** The most registrations that a process remembers, and how many bytes of JSON they are: the newest. */
const MOST = 20_000;
export const MOST_BYTES = 16_777_216;

/** Watches read by one command. */
const CHUNK = 200;

/** Watches read at a time when the process starts. */
const LOADED_AT_ONCE = 500;

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
  'attempt',
  'restartedAt',
  'pastEnds',
  'isReopened',
] as const satisfies (keyof Watch)[];

export type KnownWatch = Pick<Watch, (typeof KNOWN)[number]>;

interface Remembered {
  text: KeptText;
  /** What polls change of it: the number of its last event, its attempt, and how many ends that has had. */
  sequence: number;
  attempt: number | null;
  pastEnds: number;
}

/**
 * The registrations of active watches that this process knows, in memory, with webhooks sealed as in the
 * store. Watches that the store loses are registered again from here.
 */
export class KnownWatches {
  /** The oldest first. */
  private remembered = new Map<string, Remembered>();
  private readonly texts = new KeptTexts(MOST_BYTES);
  private sampled = 0;
  /** Watches that other processes registered, not read yet. */
  private readonly unread = new Map<string, WatchKey>();

  constructor(private readonly watches: Pick<WatchStore, 'getMany' | 'active' | 'absent'>) {}

  get size(): number {
    return this.remembered.size;
  }

  /** How many bytes of JSON they are. */
  get bytes(): number {
    return this.texts.bytes;
  }

  /** Remembers a watch that this process registered, and reads one that it knew: another write may be the last. */
  registered(watch: Watch): void {
    if (this.remembered.has(watchId(watch))) this.expect(watch);
    this.note(watch);
  }

  /** Remembers a watch that was read or written. */
  note(watch: Watch): void {
    if (watch.state !== 'active') return this.forget(watch);
    this.put(watch, textOf(watch));
  }

  /** Remembers a watch that was polled; cheap for a known watch. */
  polled(watch: Watch): void {
    if (watch.state !== 'active') return this.forget(watch);
    const id = watchId(watch);
    const known = this.remembered.get(id);
    if (known?.pastEnds === watch.pastEnds.length && known.attempt === watch.attempt) {
      known.sequence = watch.sequence;
      return;
    }
    if (known === undefined && this.remembered.size >= MOST) return;
    const text = textOf(watch);
    // A poll of a watch that is not remembered pushes out none that is.
    if (known !== undefined || this.fits(text)) this.put(watch, text);
  }

  forget(key: WatchKey): void {
    this.drop(watchId(key));
    this.unread.delete(watchId(key));
  }

  /** Notes that the watch is to be read, as another process registered it. */
  expect(key: WatchKey): void {
    if (this.unread.size < MOST) this.unread.set(watchId(key), key);
  }

  /** Reads the watches that other processes registered. */
  async catchUp(): Promise<void> {
    for (const keys of chunksOf([...this.unread.values()], CHUNK)) {
      // One that changes while it is read is read again.
      for (const key of keys) this.unread.delete(watchId(key));
      const found = await this.watches.getMany(keys).catch((error: unknown) => {
        for (const key of keys) this.expect(key);
        throw error;
      });
      for (const stored of found) if (stored !== null) this.note(stored.watch);
    }
  }

  /** Reads the newest active watches of the store, up to the limit. @returns whether all have a record */
  async load(): Promise<boolean> {
    let isWhole = true;
    let hasRoom = true;
    for await (const keys of this.watches.active(LOADED_AT_ONCE, 'newest')) {
      if (!hasRoom) {
        isWhole &&= (await this.watches.absent(keys)).length === 0;
        continue;
      }
      const found = await this.watches.getMany(keys);
      isWhole &&= !found.includes(null);
      hasRoom = this.putBefore(found.flatMap((stored) => stored?.watch ?? []));
    }
    return isWhole;
  }

  /** Some known watches, others at each call. */
  sample(most: number): WatchKey[] {
    const ids = [...this.remembered.keys()];
    const from = this.sampled < ids.length ? this.sampled : 0;
    this.sampled = from + most;
    return ids.slice(from, from + most).map(parseWatchId);
  }

  /** Known watches that have no record in the store. */
  async absent(): Promise<WatchKey[]> {
    const absent: WatchKey[] = [];
    for (const ids of chunksOf([...this.remembered.keys()], CHUNK)) {
      absent.push(...(await this.watches.absent(ids.map(parseWatchId))));
    }
    return absent;
  }

  /** Known watches that are missing from the store; drops those that have ended there. */
  async missing(): Promise<KnownWatch[]> {
    const missing: KnownWatch[] = [];
    for (const some of chunksOf([...this.remembered.values()], CHUNK)) {
      const known = some.map(({ text, sequence }) =>
        Object.assign(JSON.parse(this.texts.read(text)) as KnownWatch, { sequence }),
      );
      const found = await this.watches.getMany(known);
      for (const stored of found) if (stored !== null) this.polled(stored.watch);
      missing.push(...known.filter((_, at) => found[at] === null));
    }
    return missing;
  }

  /** Remembers a registration, and forgets the oldest ones beyond what may be. */
  private put(watch: Watch, text: string): void {
    this.drop(watchId(watch));
    for (const oldest of this.remembered.keys()) {
      if (this.remembered.size < MOST && this.fits(text)) break;
      this.drop(oldest);
    }
    if (this.fits(text)) this.remembered.set(watchId(watch), this.keep(watch, text));
  }

  /** Remembers watches that are older than all others, newest first. @returns whether there was room */
  private putBefore(watches: readonly Watch[]): boolean {
    const older: [string, Remembered][] = [];
    let hasRoom = true;
    for (const watch of watches) {
      const id = watchId(watch);
      if (watch.state !== 'active' || this.remembered.has(id)) continue;
      const text = textOf(watch);
      hasRoom = this.remembered.size + older.length < MOST && this.fits(text);
      if (!hasRoom) break;
      older.push([id, this.keep(watch, text)]);
    }
    this.remembered = new Map([...older.toReversed(), ...this.remembered]);
    return hasRoom;
  }

  private fits(text: string): boolean {
    return this.bytes + Buffer.byteLength(text) <= MOST_BYTES;
  }

  private keep({ sequence, attempt, pastEnds }: Watch, text: string): Remembered {
    return { text: this.texts.put(text), sequence, attempt, pastEnds: pastEnds.length };
  }

  private drop(id: string): void {
    const one = this.remembered.get(id);
    if (one !== undefined) this.texts.drop(one.text);
    this.remembered.delete(id);
  }
}

function textOf(watch: Watch): string {
  return JSON.stringify(Object.fromEntries(KNOWN.map((name) => [name, watch[name]])));
}

/** Keeps the known watches of all processes up to date. Never throws. */
export class WatchNotes {
  private readonly onError: (error: unknown) => void;
  private onCount: (watches: number, epoch: string) => void = () => undefined;

  constructor(
    private readonly known: KnownWatches,
    private readonly channel: WatchChannel,
    private readonly epochs: Pick<EpochStore, 'read'>,
    log: Logger,
  ) {
    this.onError = faultLog(log, 'watch_notes');
    channel.listen(({ kind, keys }) => {
      for (const key of keys) {
        if (kind === 'ended') known.forget(key);
        else known.expect(key);
      }
    });
  }

  /** Passes on how many watches the store has counted, and in which epoch, after each registration. */
  heed(onCount: (watches: number, epoch: string) => void): void {
    this.onCount = onCount;
  }

  registered(watches: readonly Watch[]): void {
    const active = watches.filter(({ state }) => state === 'active');
    if (active.length === 0) return;
    for (const watch of active) this.known.registered(watch);
    this.publish('registered', active);
    this.epochs
      .read()
      .then(({ epochs: [epoch = ''], watches: count }) => this.onCount(count, epoch))
      .catch(this.onError);
  }

  polled(watch: Watch): void {
    if (watch.state === 'active') this.known.polled(watch);
    else this.cancelled(watch);
  }

  /** The watch has other subscriptions. */
  changed(key: WatchKey): void {
    this.known.expect(key);
    this.publish('registered', [key]);
  }

  cancelled(key: WatchKey): void {
    this.known.forget(key);
    this.publish('ended', [key]);
  }

  private publish(kind: 'registered' | 'ended', keys: WatchKey[]): void {
    this.channel.publish({ kind, keys }).catch(this.onError);
  }
}
