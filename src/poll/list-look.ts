import type { Random } from '../core/backoff.ts';
import type { BatchPlan } from '../core/feed/batch.ts';
import type { ListFindings } from '../core/feed/list-findings.ts';
import type { ListMember } from '../core/feed/list-member.ts';
import type { FallbackReason, ListKey, ListStanding } from '../core/feed/list-standing.ts';
import type { StoredWatch, WatchKey } from '../core/watch/watch.ts';
import type { ListBudget, ListPermit, ListReader } from './list-pages.ts';
import type { SinglePolls } from './single-polls.ts';

interface ListGround {
  /** The active watches of the workflow whose runs have been seen. */
  watches: StoredWatch[];
  /** Null before the first look. */
  standing: ListStanding | null;
}

interface ListStore {
  getForLook(list: ListKey): Promise<ListGround>;
  put(list: ListKey, standing: ListStanding): Promise<void>;
}

interface WatchStore {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
}

/** What one look at a list came to, for log and metrics. */
export interface ListReport {
  list: ListKey;
  outcome: 'ok' | 'rate_limited' | FallbackReason;
  /** What is wrong, for people; null where nothing is. */
  message: string | null;
  pages: number;
  changed: number;
  unchanged: number;
  missing: number;
  durationMs: number;
  /** When the list is looked at again, milliseconds since the epoch. */
  nextReadAt: number;
}

export interface LookAtListDependencies {
  lists: ListStore;
  watches: WatchStore;
  polls: SinglePolls;
  /** Undefined, like its budget, for a source that is configured no more. */
  readerOf: (source: string) => ListReader | undefined;
  budgetOf: (source: string) => ListBudget | undefined;
  /** What a watch is to a list, at the interval at which it would be polled alone now. */
  memberOf: (stored: StoredWatch) => ListMember | null;
  minIntervalMs: number;
  report: (report: ListReport) => void;
  now: () => number;
  random: Random;
}

/** When to look again, milliseconds since the epoch; null where there is nothing to be read together. */
export type NextLook = { dueAt: number } | null;

/** A list that is to be looked at, with the permit for its first page. */
export interface ClaimedLook {
  list: ListKey;
  permit: ListPermit;
}

/** One look at a list that is worth it. */
export interface Look {
  list: ListKey;
  standing: ListStanding;
  members: ReadonlyMap<string, ListMember>;
  plan: BatchPlan;
  startedAt: number;
}

/** Tells log and metrics of a look. */
export function reportLook(
  deps: LookAtListDependencies,
  { list, startedAt }: Look,
  seen: Pick<ListReport, 'outcome' | 'message' | 'nextReadAt'> & {
    pages?: number;
    findings?: ListFindings;
  },
): void {
  const { findings, pages = 1, ...outcome } = seen;
  deps.report({
    ...outcome,
    list,
    pages,
    changed: findings?.changed.length ?? 0,
    unchanged: findings?.unchanged.length ?? 0,
    missing: findings?.missing.length ?? 0,
    durationMs: deps.now() - startedAt,
  });
}
