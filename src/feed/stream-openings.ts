import {
  allowedStreams,
  capacityAfter,
  isLastingFor,
  isLikely,
  NEW_CAPACITY,
  type StreamCapacity,
  type StreamOutcome,
} from '../core/feed/stream-capacity.ts';
import type { StreamEnd } from '../core/feed/run-stream.ts';
import { streamMember } from '../core/feed/page-name.ts';
import {
  isHopeful,
  isSample,
  mayStream,
  streamRank,
  type StreamTrust,
} from '../core/feed/stream-trust.ts';
import { grantedPauseMs, pauseMessage, type AskedRequest } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { StreamSchedule, StreamStore } from './ports.ts';
import type { StreamFeedDependencies } from './stream-feed.ts';

/** While more of the rate limit than this is used, first reads do not wait for streams. */
const AMPLE = 0.5;

/** After a stream of no use, its run gets no other one for this time, ms. */
const SPENT_MS = 600_000;

/** Runs that are remembered as such, and offers that are kept, beyond the streams that may be open. */
const SPARE = 1_000;

/** While hints wait for longer than this to be read, no stream is opened, ms. */
const HINTS_WAIT_MS = 250;

/** No stream is asked for after this host could open no connection for one, ms. */
const UNSENT_REST_MS = 5_000;

/** No stream is asked for after one had the source paused, beyond that pause, at the least, ms. */
const PAUSED_REST_MS = 60_000;

interface StreamOpeningsDependencies extends Pick<
  StreamFeedDependencies,
  | 'source'
  | 'process'
  | 'most'
  | 'requestsPerMs'
  | 'asks'
  | 'pause'
  | 'onRefused'
  | 'onError'
  | 'now'
> {
  store: Pick<StreamStore, 'take' | 'count' | 'capacity' | 'changeCapacity'>;
  schedule: Pick<StreamSchedule, 'enterFeed' | 'countStreams'>;
  trust: () => StreamTrust;
  isOpen: (runId: string) => boolean;
  /** How long hints wait to be read, ms: their reads are worth more than further streams. */
  hintsWaitMs: () => number;
}

/** A run that a stream may be opened for, without its watch: very many of these take much memory. */
export interface StreamOffer {
  runId: string;
  /** The order in which streams are opened, lowest first. */
  rank: number;
}

/** Which runs streams are opened for, and how many there may be, over all processes. */
export class StreamOpenings {
  /** Streams of all processes, at the last count. */
  held = 0;
  private capacity: StreamCapacity = NEW_CAPACITY;
  /** The ranks of runs that are offered. */
  private offered = new Map<string, number>();
  /** Runs after streams of no use, by when they may get another one. */
  private readonly spent = new Map<string, number>();
  private restsUntil = 0;
  private isStopped = false;
  private pumping: Promise<void> | null = null;

  constructor(private readonly deps: StreamOpeningsDependencies) {}

  /** How many streams there may be, over all processes. */
  async limits(): Promise<{ allowed: number; refusedUntil: number | null }> {
    const { store, source, most, now } = this.deps;
    const capacity = await store.capacity(source);
    const { refusedUntil } = capacity;
    return {
      allowed: allowedStreams(capacity, { most, now: now() }),
      refusedUntil: refusedUntil > now() ? refusedUntil : null,
    };
  }

  /** Runs that this process would open a stream for. */
  get wanted(): number {
    return this.offered.size;
  }

  async refresh(): Promise<void> {
    const { store, source } = this.deps;
    [this.held, this.capacity] = await Promise.all([store.count(source), store.capacity(source)]);
  }

  /** Whether the stream of a run is worth a request before its first read, which then closes the gap. */
  isWorthFirst(watch: Watch, { count, limit }: { count: number; limit: number }): boolean {
    const isAmple = count <= limit * AMPLE && isLikely(this.capacity, this.deps.now());
    return isAmple && watch.run === null && this.isWanted(watch);
  }

  /** Whether a stream of a run is worth its request, and may be had. */
  isWanted(watch: Watch): boolean {
    const { now, isOpen, trust } = this.deps;
    if (this.isStopped || now() < this.restsUntil || this.allowed() === 0) return false;
    if (!mayStream(watch) || isOpen(watch.runId) || this.isSpent(watch.runId)) return false;
    return isHopeful(trust(), watch) && (this.isLasting(watch) || isSample(watch.runId));
  }

  /** Whether streams live long enough to save reads of a run. */
  isLasting({ cadence }: Watch): boolean {
    return !this.isStopped && isLastingFor(cadence.intervalMs, this.capacity);
  }

  /** Whether a stream that was entered is still to be opened now; else it is offered again. */
  isDue(watch: Watch): boolean {
    if (!this.isWanted(watch)) return false;
    if (!this.areHintsWaiting()) return true;
    this.keep(watch);
    return false;
  }

  /** A stream may be opened for a run, as far as it is wanted. */
  offer(watch: Watch): void {
    if (!this.isWanted(watch)) return void this.offered.delete(watch.runId);
    this.keep(watch);
    this.pump().catch(this.deps.onError);
  }

  /** What {@link offerAll} takes; null where no stream is wanted. */
  offerOf(watch: Watch): StreamOffer | null {
    return this.isWanted(watch) ? { runId: watch.runId, rank: streamRank(watch) } : null;
  }

  /** Takes all that is wanted and has no stream, in place of what was offered before. */
  offerAll(offers: readonly StreamOffer[]): void {
    const best = offers.toSorted((a, b) => a.rank - b.rank).slice(0, this.deps.most + SPARE);
    this.offered = new Map(best.map(({ runId, rank }) => [runId, rank]));
  }

  /** Enters streams to open into the schedule: no more than may be open, and than permits allow. */
  pump(): Promise<void> {
    this.pumping ??= this.enterBest().finally(() => (this.pumping = null));
    return this.pumping;
  }

  private async enterBest(): Promise<void> {
    const { deps } = this;
    if (this.offered.size === 0 || this.isStopped || this.areHintsWaiting()) return;
    const entered = await deps.schedule.countStreams();
    const perSecond = Math.max(1, deps.requestsPerMs() * 1_000);
    const room = Math.floor(Math.min(this.allowed() - this.held, perSecond) - entered);
    if (room <= 0) return;
    const members = [...this.offered]
      .toSorted(([, a], [, b]) => a - b)
      .slice(0, room)
      .map(([runId]) => {
        this.offered.delete(runId);
        return { member: streamMember(runId), withinMs: 0 };
      });
    await deps.schedule.enterFeed('stream', members);
  }

  /** Takes a run for a stream of this process. @returns false where it has one, or there are too many */
  async take(runId: string): Promise<boolean> {
    const { store, source, process } = this.deps;
    this.offered.delete(runId);
    const isTaken = await store.take(source, runId, process, this.allowed());
    if (isTaken) this.held += 1;
    return isTaken;
  }

  /** The stream of a run was of no use. */
  spend(runId: string): void {
    this.spent.delete(runId);
    this.spent.set(runId, this.deps.now() + SPENT_MS);
    if (this.spent.size <= this.deps.most + SPARE) return;
    for (const oldest of this.spent.keys()) return void this.spent.delete(oldest);
  }

  /** Learns from the end of a stream how many there may be, and when to ask for none. */
  async ended(runId: string, end: StreamEnd, asked: AskedRequest): Promise<void> {
    // What another key or URL led to says nothing of the source as it is configured now.
    if (asked.access !== this.deps.asks().access) return;
    if (end.kind === 'unsent') this.restsUntil = this.deps.now() + UNSENT_REST_MS;
    if (end.kind === 'refused') await this.changeCapacity({ is: 'refused', runId });
    if (end.kind === 'failed' || end.kind === 'silent') {
      await this.changeCapacity({ is: 'failed', runId });
    }
    if (end.kind !== 'throttled') return;
    await this.changeCapacity({ is: 'throttled' });
    const { now, pause } = this.deps;
    const { retryAfterMs, status } = end;
    const pausedMs = grantedPauseMs(retryAfterMs);
    // Else streams that are not needed would keep the source paused for polls.
    this.restsUntil = now() + pausedMs + Math.max(PAUSED_REST_MS, pausedMs);
    // A limit of streams says nothing of reads, unless the source names a time.
    if (retryAfterMs !== null) {
      await pause({ retryAfterMs, message: pauseMessage(status, retryAfterMs) }, asked);
    }
  }

  /** While runs wait for streams, those that go on show that more may be had. */
  goOn(isLive: boolean): void {
    if (this.offered.size > 0 && isLive) this.learn({ is: 'live' });
  }

  learn(outcome: StreamOutcome): void {
    this.changeCapacity(outcome).catch(this.deps.onError);
  }

  private async changeCapacity(outcome: StreamOutcome): Promise<void> {
    const { store, source, now, onRefused } = this.deps;
    const at = now();
    let wasRefused = false;
    this.capacity = await store.changeCapacity(source, (one) => {
      wasRefused = one.refusedUntil > 0;
      return capacityAfter(one, outcome, at);
    });
    const { refusedUntil } = this.capacity;
    if (refusedUntil > 0 && !wasRefused) onRefused(refusedUntil);
  }

  stop(): void {
    this.isStopped = true;
  }

  private keep(watch: Watch): void {
    if (this.offered.size >= this.deps.most + SPARE) return;
    this.offered.set(watch.runId, streamRank(watch));
  }

  private allowed(): number {
    const { most, now } = this.deps;
    return most === 0 ? 0 : allowedStreams(this.capacity, { most, now: now() });
  }

  private areHintsWaiting(): boolean {
    return this.deps.hintsWaitMs() > HINTS_WAIT_MS;
  }

  private isSpent(runId: string): boolean {
    const until = this.spent.get(runId);
    if (until === undefined) return false;
    if (this.deps.now() < until) return true;
    this.spent.delete(runId);
    return false;
  }
}
