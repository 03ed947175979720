import { setTimeout as sleep } from 'node:timers/promises';
import { fullJitter } from '../core/backoff.ts';
import type { EventStreams, StreamEnd, StreamNote } from '../core/feed/run-stream.ts';
import {
  heard,
  newHints,
  readFound,
  type HintStep,
  type RunHints,
} from '../core/feed/stream-hint.ts';
import type { RunNodes } from '../core/run/nodes.ts';
import { isTerminalStatus, type RunSnapshot } from '../core/run/snapshot.ts';
import type { Permit } from '../core/source/rate-limit.ts';
import type { AskedRequest } from '../core/source/throttle.ts';
import type { Watch } from '../core/watch/watch.ts';

/** From the break of a stream until it is opened again. */
const REOPEN = { baseMs: 1_000, maxMs: 60_000 };

/** A stream that was open for so long begins its backoff anew, ms. */
const STEADY_MS = 60_000;

/** A run whose stream is away for longer than this is read, ms. */
const BRIEF_MS = 2_000;

/** A stream with so many hints that reads contradicted is closed. */
const MOST_WRONG = 2;

/** How often a permit is asked for while there is none, and how many times, ms. */
const PERMIT_EVERY_MS = 500;
const PERMIT_TRIES = 20;

/** How a stream of a run went. */
export interface StreamRound {
  end: StreamEnd;
  /** Whether it is to be resumed: it was open, and broke before it named the end of its run. */
  isBroken: boolean;
  asked: AskedRequest;
}

/** What runs are followed for: the stream feed of a source, or a `wait` without a daemon. */
export interface Follower {
  now(): number;
  random(): number;
  /** What a request that is sent now is judged by. */
  asks(): AskedRequest;
  openStream: EventStreams['follow'];
  /** Null while there is none. */
  claimPermit(): Promise<Permit | null>;
  /** Whether a hint that the run has started is worth a read. */
  isStartWanted(run: FollowedRun): boolean;
  /** The stream of a run is open. */
  opened(run: FollowedRun): void;
  /** A stream of a run is over. @returns whether another one may follow, where this one broke */
  ended(run: FollowedRun, round: StreamRound): Promise<boolean>;
  /** Does what an event or a read calls for. */
  act(run: FollowedRun, step: HintStep): void;
  /** What is known of a run by its stream is complete, or is not any more. */
  evaluate(run: FollowedRun): void;
}

/** A run whose events this process follows, through as many streams as it takes. */
export class FollowedRun {
  hints: RunHints;
  nodes: RunNodes | null = null;
  /** Since when its stream is open; null while it is not. */
  liveAt: number | null = null;
  /** Whether its reads are left to the stream. */
  isRelied = false;
  /** Whether the store says so. */
  isNoted = false;
  /** Whether its next read may be as late as a backstop. */
  isLeft = false;
  /** True where its streams were of no use, so that it gets no other one. */
  isSpent = false;
  /** Resolves once its first stream is open, or is not to be had. */
  readonly begun: Promise<void>;
  private begin: () => void = () => undefined;
  private judged: () => void = () => undefined;
  private etag: string | null = null;
  private wrong = 0;
  /** Whether what happened before the stream was open is known. */
  private isGapClosed = false;
  /** Until when a break counts as none: the stream is resumed where it broke. */
  private resumedBy = 0;
  private readonly closing = new AbortController();

  constructor(
    private readonly follower: Follower,
    public watch: Watch,
  ) {
    this.hints = newHints(watch.run?.status ?? null);
    this.begun = new Promise((resolve) => (this.begin = resolve));
  }

  get runId(): string {
    return this.watch.runId;
  }

  /** Whether nothing that happened is unknown, but for what the stream does not tell. */
  isComplete(): boolean {
    const isThere = this.liveAt !== null || this.follower.now() < this.resumedBy;
    return isThere && this.isGapClosed;
  }

  isOver(): boolean {
    return this.watch.state !== 'active' || isTerminalStatus(this.hints.known ?? '');
  }

  close(): void {
    this.closing.abort();
    this.judged();
  }

  /** Reads have contradicted a hint of its stream. */
  contradicted(): void {
    this.wrong += 1;
    if (this.wrong < MOST_WRONG) return;
    this.isSpent = true;
    this.close();
  }

  /** Follows the run until it ends, or streams are of no more use. */
  async follow(first: Permit): Promise<void> {
    const { follower } = this;
    let permit: Permit | null = first;
    for (let attempt = 0; permit !== null; attempt += 1) {
      const asked = follower.asks();
      const end: StreamEnd = await this.stream(permit);
      const isBroken = this.isBrokenBy(end);
      this.liveAt = null;
      const livedMs = follower.now() - asked.at;
      const goesOn = (await follower.ended(this, { end, isBroken, asked })) && isBroken;
      if (this.closing.signal.aborted) return;
      if (!goesOn) return this.giveUp(end);
      if (livedMs > STEADY_MS) attempt = 0;
      permit = await this.permitIn(fullJitter(REOPEN, attempt + 1, () => follower.random()));
    }
  }

  /** Takes in a read of the run. @param askedAt when it was sent */
  read(watch: Watch, run: RunSnapshot, askedAt: number): void {
    this.watch = watch;
    this.closeGap(askedAt);
    const { status } = run;
    this.take(readFound(this.hints, { status, askedAt }, this.follower.now()));
  }

  /** What a read shows that was sent while the stream was open is not in any gap. */
  closeGap(askedAt: number): void {
    if (this.liveAt !== null && this.liveAt <= askedAt) this.isGapClosed = true;
  }

  /** Resolves once no hint waits for a read, or after a time. A stream may end before its last hint is read. */
  async judgedIn(ms: number): Promise<void> {
    if (this.hints.pending === null || this.closing.signal.aborted) return;
    const patience = new AbortController();
    const judged = new Promise<void>((resolve) => (this.judged = resolve));
    const { signal } = patience;
    await Promise.race([
      judged,
      sleep(ms, undefined, { signal, ref: false }).catch(() => undefined),
    ]);
    patience.abort();
  }

  private isBrokenBy({ kind }: StreamEnd): boolean {
    if (this.liveAt === null || this.hasSaidEnd()) return false;
    return kind === 'ended' || (kind === 'silent' && this.hints.said !== null);
  }

  private giveUp({ kind }: StreamEnd): void {
    this.isSpent = kind !== 'throttled' && kind !== 'unsent' && !this.hasSaidEnd();
  }

  private async stream(permit: Permit): Promise<StreamEnd> {
    const { follower } = this;
    const end = await follower.openStream(this.runId, {
      etag: this.etag,
      signal: this.closing.signal,
      onLive: () => {
        permit.settle();
        this.liveAt = follower.now();
        if (this.etag === null) this.isGapClosed = false;
        this.begin();
        follower.opened(this);
      },
      onNote: (note) => this.note(note),
    });
    permit.settle();
    this.begin();
    return end;
  }

  private note({ status, nodes, redisId }: StreamNote): void {
    const { follower } = this;
    this.etag = redisId ?? this.etag;
    if (nodes !== null) this.nodes = nodes;
    if (status === null) return;
    const isStartWanted = follower.isStartWanted(this);
    this.take(heard(this.hints, status, { now: follower.now(), isStartWanted }));
    if (this.isGapClosed || status !== this.hints.known) return;
    this.isGapClosed = true;
    follower.evaluate(this);
  }

  private take(step: HintStep): void {
    this.hints = step.hints;
    this.follower.act(this, step);
    if (this.hints.pending === null) this.judged();
  }

  /** A stream that has named the end of its run is not broken. */
  private hasSaidEnd(): boolean {
    return isTerminalStatus(this.hints.said ?? '') || this.isOver();
  }

  private async permitIn(delayMs: number): Promise<Permit | null> {
    const { follower } = this;
    const { signal } = this.closing;
    const isBrief = delayMs <= BRIEF_MS && this.etag !== null;
    this.resumedBy = isBrief ? follower.now() + 2 * BRIEF_MS : 0;
    follower.evaluate(this);
    try {
      await sleep(delayMs, undefined, { signal, ref: false });
      for (let tries = 0; tries < PERMIT_TRIES; tries += 1) {
        const permit = await follower.claimPermit();
        if (permit !== null) return permit;
        follower.evaluate(this);
        await sleep(PERMIT_EVERY_MS, undefined, { signal, ref: false });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    return null;
  }
}
