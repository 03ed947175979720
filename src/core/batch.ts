import type { BatchEventType } from './event/event.ts';
import { isTerminalStatus, statusLabel } from './run/snapshot.ts';
import type { Subscription, Watch, WebhookSubscription } from './watch/watch.ts';

export const BATCH_STATES = ['open', 'closed', 'completed'] as const;

/**
 * `open`: runs may join. `closed`: none may join, and it completes once all have ended. `completed`: all have
 * ended, which nothing takes back.
 */
export type BatchState = (typeof BATCH_STATES)[number];

/** Statuses of members that have not ended. */
export const ACTIVE_MEMBERS = [
  'queued',
  'running',
  'awaiting_human_feedback',
  'unseen',
  'unknown',
] as const;

/** How members end. */
const ENDED_MEMBERS = ['completed', 'failed', 'stopped', 'gone', 'expired', 'cancelled'] as const;

/** Ends that count as failures. */
export const FAILED_MEMBERS = ['failed', 'gone', 'expired'] as const;

/** Where a member stands: the status of its run, or how its watch ended. */
export const MEMBER_STATUSES = [...ACTIVE_MEMBERS, ...ENDED_MEMBERS] as const;

export type MemberStatus = (typeof MEMBER_STATUSES)[number];

/** Runs of one batch. */
export const MOST_MEMBERS = 10_000;

/** Failed runs that a batch names. */
export const MOST_FAILED = 100;

/** Batches that one watch may be in. */
export const MOST_BATCHES_OF_WATCH = 16;

/** Webhooks of members that hear of a batch, besides its own. */
export const MOST_WEBHOOKS = 100;

/** An open batch without an active member completes after this time, ms. */
export const IDLE_MS = 3_600_000;

/** An open batch without an active member needs a person after this time, ms: it should be closed. */
export const UNCLOSED_MS = 600_000;

/** Why a batch has completed, or was closed. */
export const CLOSE_REASONS = ['closed', 'expected', 'idle'] as const;

export type CloseReason = (typeof CLOSE_REASONS)[number];

/** What a batch is called. Tokens that are limited to other sources have names of their own. */
export interface BatchName {
  /** The sources of the tokens that it belongs to, sorted; null for those that are limited to none. */
  sources: readonly string[] | null;
  name: string;
}

/** Members by where they stand; those with none are absent. */
export type MemberCounts = Partial<Record<MemberStatus, number>>;

/** How a batch ended. */
interface BatchOutcome {
  byStatus: MemberCounts;
  /** The watches of the first {@link MOST_FAILED} that failed, by their registration. */
  failed: string[];
}

/** Runs that are waited for together. Times are milliseconds since the epoch. */
export interface Batch extends BatchName {
  id: string;
  state: BatchState;
  /** How many runs have joined. */
  joined: number;
  /** How many close it; null for none. */
  expected: number | null;
  /** How many may fail before `batch.failed`; null where that is never sent. */
  maxFailed: number | null;
  /** What hears of it; null for what hears of its members. */
  subscriptions: Subscription[] | null;
  /** Other webhooks that its events went to, sealed for it: of its members, and those that it had before. */
  inherited: WebhookSubscription[];
  createdAt: number;
  closedBy: CloseReason | null;
  failedAt: number | null;
  completedAt: number | null;
  /** Null until it has completed. */
  outcome: BatchOutcome | null;
}

/** What a batch is called to a token. @param sources those that it is limited to; absent for none */
export function batchOf(sources: readonly string[] | undefined, name: string): BatchName {
  return { sources: sources === undefined ? null : [...new Set(sources)].sort(), name };
}

/** Begins an id; no name begins so. */
export const BATCH_ID_MARK = 'bat_';

/** A batch that begins. @param mark no other one has it */
export function newBatch(mark: string, { sources, name }: BatchName, now: number): Batch {
  return {
    id: BATCH_ID_MARK + mark,
    sources,
    name,
    state: 'open',
    joined: 0,
    expected: null,
    maxFailed: null,
    subscriptions: null,
    inherited: [],
    createdAt: now,
    closedBy: null,
    failedAt: null,
    completedAt: null,
    outcome: null,
  };
}

/** What names a batch in the store, beside its id. No source has a comma or a slash. */
export function batchNameKey({ sources, name }: BatchName): string {
  return `${(sources ?? []).join(',')}/${name}`;
}

/** What the secret parts of a batch's webhooks are sealed for. The id of no watch is like it. */
export function batchSealContext({ id }: Pick<Batch, 'id'>): string {
  return `batch ${id}`;
}

/** Where a member stands. A run that is polled for another attempt has not ended, whatever its last one did. */
export function memberStatus({ state, run }: Pick<Watch, 'state' | 'run'>): MemberStatus {
  if (state === 'active') {
    const label = run !== null && isTerminalStatus(run.status) ? 'unseen' : statusLabel(run);
    return label as MemberStatus;
  }
  if (state !== 'finished') return state;
  return run !== null && isTerminalStatus(run.status) ? run.status : 'stopped';
}

export function isActiveMember(status: MemberStatus): boolean {
  return (ACTIVE_MEMBERS as readonly string[]).includes(status);
}

export function isFailedMember(status: MemberStatus): boolean {
  return (FAILED_MEMBERS as readonly string[]).includes(status);
}

/** How many members stand in any of some ways. */
export function countMembers(counts: MemberCounts, statuses: readonly MemberStatus[]): number {
  return statuses.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
}

/** What a batch is found to be at a moment. */
export interface BatchFindings {
  byStatus: MemberCounts;
  failed: string[];
  /** Since when no member is active; null where one is, or that is not known. */
  idleSince: number | null;
}

/** A batch after it was judged, and the events that follow. */
export interface JudgedBatch {
  batch: Batch;
  events: BatchEventType[];
}

/** What follows for a batch from where its members stand. */
export function judgeBatch(batch: Batch, found: BatchFindings, now: number): JudgedBatch {
  if (batch.state === 'completed') return { batch, events: [] };
  const { byStatus, failed, idleSince } = found;
  const events: BatchEventType[] = [];
  let judged = batch;
  if (isBeyondFailures(batch, byStatus)) {
    events.push('batch.failed');
    judged = { ...judged, failedAt: now };
  }
  if (countMembers(byStatus, ACTIVE_MEMBERS) === 0) {
    const isIdle = idleSince !== null && now - idleSince >= IDLE_MS;
    if (batch.state === 'closed' || isIdle) {
      events.push('batch.completed');
      judged = {
        ...judged,
        state: 'completed',
        closedBy: batch.closedBy ?? 'idle',
        completedAt: now,
        outcome: { byStatus, failed },
      };
    }
  }
  return { batch: judged, events };
}

function isBeyondFailures({ maxFailed, failedAt }: Batch, byStatus: MemberCounts): boolean {
  if (maxFailed === null || failedAt !== null) return false;
  return countMembers(byStatus, FAILED_MEMBERS) > maxFailed;
}
