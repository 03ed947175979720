import { isoTime } from '../core/event/event.ts';
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
import { isHopeful, isSample, mayStream, streamRank } from '../core/feed/stream-trust.ts';
import { grantedPauseMs, pauseMessage, type AskedRequest } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';
import type { StreamStore } from '../redis/stores/stream-store.ts';
import type { Source } from './source.ts';
import type { StreamFeed } from './stream-feed.ts';

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

  private readonly source: Source;

  constructor(private readonly feed: StreamFeed) {
    this.source = feed.source;
  }

  /** How many streams there may be, over all processes. */
  async limits(): Promise<{ allowed: number; refusedUntil: number | null }> {
    const { now } = this.source.process;
    const { most } = this.feed;
    const capacity = await this.store.capacity(this.source.name);
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
    const { store } = this;
    const { name: source } = this.source;
    [this.held, this.capacity] = await Promise.all([store.count(source), store.capacity(source)]);
  }

  /** Whether the stream of a run is worth a request before its first read, which then closes the gap. */
  isWorthFirst(watch: Watch, { count, limit }: { count: number; limit: number }): boolean {
    const isAmple = count <= limit * AMPLE && isLikely(this.capacity, this.source.process.now());
    return isAmple && watch.run === null && this.isWanted(watch);
  }

  /** Whether a stream of a run is worth its request, and may be had. */
  isWanted(watch: Watch): boolean {
    const { now } = this.source.process;
    const { open, trust } = this.feed;
    if (this.isStopped || now() < this.restsUntil || this.allowed() === 0) return false;
    if (!mayStream(watch) || open.has(watch.runId) || this.isSpent(watch.runId)) return false;
    return isHopeful(trust, watch) && (this.isLasting(watch) || isSample(watch.runId));
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
    this.pump().catch(this.feed.onError);
  }

  /** What {@link offerAll} takes; null where no stream is wanted. */
  offerOf(watch: Watch): StreamOffer | null {
    return this.isWanted(watch) ? { runId: watch.runId, rank: streamRank(watch) } : null;
  }

  /** Takes all that is wanted and has no stream, in place of what was offered before. */
  offerAll(offers: readonly StreamOffer[]): void {
    const best = offers.toSorted((a, b) => a.rank - b.rank).slice(0, this.feed.most + SPARE);
    this.offered = new Map(best.map(({ runId, rank }) => [runId, rank]));
  }

  /** Enters streams to open into the schedule: no more than may be open, and than permits allow. */
  pump(): Promise<void> {
    this.pumping ??= this.enterBest().finally(() => (this.pumping = null));
    return this.pumping;
  }

  private async enterBest(): Promise<void> {
    const { schedule, limiter } = this.source;
    if (this.offered.size === 0 || this.isStopped || this.areHintsWaiting()) return;
    const entered = await schedule.countDue('stream');
    const perSecond = Math.max(1, limiter.requestsPerMs * 1_000);
    const room = Math.floor(Math.min(this.allowed() - this.held, perSecond) - entered);
    if (room <= 0) return;
    const members = [...this.offered]
      .toSorted(([, a], [, b]) => a - b)
      .slice(0, room)
      .map(([runId]) => {
        this.offered.delete(runId);
        return { member: streamMember(runId), withinMs: 0 };
      });
    await schedule.enterFeed('stream', members);
  }

  /** Takes a run for a stream of this process. @returns false where it has one, or there are too many */
  async take(runId: string): Promise<boolean> {
    const { process, name } = this.source;
    this.offered.delete(runId);
    const isTaken = await this.store.take(name, runId, process.id, this.allowed());
    if (isTaken) this.held += 1;
    return isTaken;
  }

  /** The stream of a run was of no use. */
  spend(runId: string): void {
    this.spent.delete(runId);
    this.spent.set(runId, this.source.process.now() + SPENT_MS);
    if (this.spent.size <= this.feed.most + SPARE) return;
    for (const oldest of this.spent.keys()) return void this.spent.delete(oldest);
  }

  /** Learns from the end of a stream how many there may be, and when to ask for none. */
  async ended(runId: string, end: StreamEnd, asked: AskedRequest): Promise<void> {
    // What another key or URL led to says nothing of the source as it is configured now.
    const { process, throttle } = this.source;
    if (asked.access !== throttle.asks().access) return;
    if (end.kind === 'unsent') this.restsUntil = process.now() + UNSENT_REST_MS;
    if (end.kind === 'refused') await this.changeCapacity({ is: 'refused', runId });
    if (end.kind === 'failed' || end.kind === 'silent') {
      await this.changeCapacity({ is: 'failed', runId });
    }
    if (end.kind !== 'throttled') return;
    await this.changeCapacity({ is: 'throttled' });
    const { retryAfterMs, status } = end;
    const pausedMs = grantedPauseMs(retryAfterMs);
    // Else streams that are not needed would keep the source paused for polls.
    this.restsUntil = process.now() + pausedMs + Math.max(PAUSED_REST_MS, pausedMs);
    // A limit of streams says nothing of reads, unless the source names a time.
    if (retryAfterMs !== null) {
      const message = pauseMessage(status, retryAfterMs);
      await throttle.note({ kind: 'rate_limited', retryAfterMs, message }, asked);
    }
  }

  /** While runs wait for streams, those that go on show that more may be had. */
  goOn(isLive: boolean): void {
    if (this.offered.size > 0 && isLive) this.learn({ is: 'live' });
  }

  learn(outcome: StreamOutcome): void {
    this.changeCapacity(outcome).catch(this.feed.onError);
  }

  private async changeCapacity(outcome: StreamOutcome): Promise<void> {
    const { process, name } = this.source;
    const at = process.now();
    let wasRefused = false;
    this.capacity = await this.store.changeCapacity(name, (one) => {
      wasRefused = one.refusedUntil > 0;
      return capacityAfter(one, outcome, at, this.feed.most);
    });
    const { refusedUntil } = this.capacity;
    if (refusedUntil === 0 || wasRefused) return;
    process.log.info({ source: name, until: isoTime(refusedUntil) }, 'streams.unavailable');
  }

  stop(): void {
    this.isStopped = true;
  }

  private keep(watch: Watch): void {
    if (this.offered.size >= this.feed.most + SPARE) return;
    this.offered.set(watch.runId, streamRank(watch));
  }

  private allowed(): number {
    const { now } = this.source.process;
    const { most } = this.feed;
    return most === 0 ? 0 : allowedStreams(this.capacity, { most, now: now() });
  }

  private areHintsWaiting(): boolean {
    return this.feed.hintReads.waitMs() > HINTS_WAIT_MS;
  }

  private isSpent(runId: string): boolean {
    const until = this.spent.get(runId);
    if (until === undefined) return false;
    if (this.source.process.now() < until) return true;
    this.spent.delete(runId);
    return false;
  }

  private get store(): StreamStore {
    return this.source.process.stores.streams;
  }
}
