import type { RequestKind } from '../core/cadence/load.ts';
import type { WorkflowKey, WorkflowStatistics } from '../core/cadence/phase.ts';
import type { ClockStep } from '../core/clock.ts';
import type { PlannedEvent } from '../core/delivery/outbox.ts';
import type { Page } from '../core/page.ts';
import type { PollResult } from '../core/run/snapshot.ts';
import type { SourceConsistency } from '../core/source/consistency.ts';
import type { PermitRequest } from '../core/source/limiter.ts';
import type {
  ClaimedRequests,
  ClaimRequestsOptions,
  HeldClaim,
  ReleasedUntil,
  ScheduleSurvey,
} from '../core/source/schedule.ts';
import type { SourceRecord, SourceState } from '../core/source/throttle.ts';
import type {
  StoredWatch,
  Watch,
  WatchChange,
  WatchKey,
  WatchQuota,
  WatchState,
} from '../core/watch/watch.ts';

/** Reads runs of one source. */
export interface RunReader {
  /** @param options.onSent called when the request is sent */
  readRun(runId: string, options?: { onSent?: () => void }): Promise<PollResult>;
}

/** Watches. A write succeeds only if its watch is as it was when it was read. */
export interface WatchStore {
  get(key: WatchKey): Promise<StoredWatch | null>;
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  list(
    filter: { state: readonly WatchState[]; sources: readonly string[] },
    page: { limit: number; cursor?: string | undefined },
  ): Promise<Page<Watch>>;
  /** Active watches, a chunk at a time. */
  active(chunk: number): AsyncIterable<WatchKey[]>;
  countActive(): Promise<number>;
  /** @returns pools at which deliveries are due now; null where the watch has changed */
  commit(change: WatchChange): Promise<string[] | null>;
  commitMany(changes: WatchChange[]): Promise<(string[] | null)[]>;
  /** The same; `beyond_quota` where the token would have more active watches than it may. */
  commitWithin(
    changes: WatchChange[],
    quota: WatchQuota,
  ): Promise<(string[] | null | 'beyond_quota')[]>;
  /**
   * Writes the result of a claimed poll and ends the claim.
   * @returns `changed` where the watch has changed; `lost` where another process holds the claim
   */
  commitPoll(change: WatchChange): Promise<string[] | 'changed' | 'lost'>;
}

/** The schedule of every source. */
export interface ScheduleStore {
  claim(source: string, request: ClaimRequestsOptions): Promise<ClaimedRequests>;
  /** @returns how many of the claims were still held */
  release(source: string, claims: readonly HeldClaim[], until: ReleasedUntil): Promise<number>;
  /** @returns false where another process holds the claim */
  renew(source: string, claim: HeldClaim, leaseMs: number): Promise<boolean>;
  heldBy(source: string, process: string): AsyncIterable<HeldClaim[]>;
  heldByOrLapsed(source: string, process: string): AsyncIterable<HeldClaim[]>;
  expedite(source: string, members: readonly string[]): Promise<void>;
  defer(
    source: string,
    moves: readonly { member: string; from: number; to: number }[],
  ): Promise<void>;
  /** @returns how many were missing */
  enterMissing(source: string, kind: RequestKind, members: readonly string[]): Promise<number>;
  /** Enters members, due now; those that are there are due within so many ms. */
  enterWithin(
    source: string,
    kind: RequestKind,
    members: readonly { member: string; withinMs: number }[],
  ): Promise<void>;
  survey(source: string): Promise<ScheduleSurvey>;
  countWatches(source: string): Promise<number>;
  moveBack(source: string, step: ClockStep): Promise<void>;
}

/** The requests that count against each source's rate limit. */
export interface LimiterStore {
  /** @returns how many requests count against the limit with this one; null for no permit now */
  admit(source: string, request: PermitRequest): Promise<number | null>;
  /** The request was answered: it counts for the limit's period from now on. */
  settle(source: string, request: PermitRequest): Promise<void>;
  /** The request is sent only now: it counts for as long as if its permit were new. */
  renew(source: string, request: PermitRequest): Promise<void>;
  /** The request was not sent: it no longer counts. */
  giveBack(source: string, request: string): Promise<void>;
}

export interface SourceStore {
  read(source: string): Promise<SourceRecord>;
  /** @returns false where the state has changed since `before` was read */
  put(
    source: string,
    before: SourceRecord,
    after: SourceState | null,
    change: { isProbe: boolean; openSince: number | null; access: string },
  ): Promise<boolean>;
  answered(source: string, now: number, access: string): Promise<void>;
}

/** A record of how far a source's polls agree, to replace the one that was read. */
export interface ConsistencyWrite {
  source: string;
  /** The record's text when it was read; '' for none. */
  before: string;
  after: SourceConsistency | null;
}

export interface ConsistencyStore {
  read(source: string): Promise<{ found: SourceConsistency | null; text: string }>;
  /** @returns the pools at which deliveries are due now; null where another process has written since */
  put(write: ConsistencyWrite, event: PlannedEvent | null): Promise<string[] | null>;
}

/** Takes a written change of a watch, for the trace of its run. */
export type TraceChange = (change: { before: Watch; after: Watch }) => void;

/** Watches of gone runs, with the times of their next checks. */
export interface GoneStore {
  /** Claims the checks that are due, which become due again after the lease. @returns watch ids */
  takeDue(now: number, options: { leaseMs: number; most: number }): Promise<string[]>;
  /** Sets the time of the next check; null for no more checks. */
  putCheck(id: string, at: number | null): Promise<void>;
}

/** Statistics of workflows. */
export interface StatisticsStore {
  /** @returns in order; null for an unknown workflow, `unchanged` where the version is still this */
  read(
    wanted: readonly (WorkflowKey & { version: number | null })[],
    options: { isUse: boolean },
  ): Promise<(WorkflowStatistics | null | 'unchanged')[]>;
  lastUsed(limit: number): Promise<WorkflowKey[]>;
  /** The time now, which only writes advance, and the workflows that were written or used after another. */
  usedSince(time: number): Promise<{ time: number; names: string[] }>;
}
