import type { Alert, AlertCounts } from '../core/alert/alert.ts';
import type { ChangedGroup } from '../core/alert/batch.ts';
import type { RuleBook } from '../core/alert/entry.ts';
import type { Group } from '../core/alert/group.ts';
import type { InhibitRule } from '../core/alert/rule.ts';
import type { Silence } from '../core/alert/silence.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import type { StoredWatch, WatchKey } from '../core/watch/watch.ts';

/** Work that a process has claimed. Times are milliseconds since the epoch. */
interface AlertWork {
  now: number;
  /** For how long some process has judged, ms. */
  uptimeMs: number;
  /** When to look again, ms from now; null where nothing is due at all. */
  nextMs: number | null;
  /** Null where there is nothing to do, or another process does it. */
  claimed: { entries: string[]; due: string[]; deadlines: string[] } | null;
}

/** A group as it was read, with the version that a write must find. */
export interface ReadGroup {
  version: string;
  group: Group | null;
}

export interface PlannedAlertEvent {
  id: string;
  /** The exact JSON text to send. */
  body: string;
  deliveries: Delivery[];
}

/** What one step writes. */
interface AlertCommit {
  /** The claim of the process that judges; null for a change that needs none. */
  token: string | null;
  read: ReadonlyMap<string, ReadGroup>;
  changed: readonly ChangedGroup[];
  resolved: readonly Alert[];
  counts: AlertCounts;
  events: readonly PlannedAlertEvent[];
  /** Entries of the inbox that were judged, from the first on. */
  judged: readonly string[];
  deadlines: readonly { member: string; at: number }[];
  endedDeadlines: readonly string[];
}

export interface AlertStore {
  take(
    token: string,
    options: { leaseMs: number; entries: number; groups: number },
  ): Promise<AlertWork>;
  /** The store's time, and for how long some process has judged, ms. */
  uptime(): Promise<{ now: number; uptimeMs: number }>;
  groups(keys: readonly string[]): Promise<Map<string, ReadGroup>>;
  /** How many groups rules have, by rule. */
  groupCounts(rules: readonly string[]): Promise<Map<string, number>>;
  /** @returns pools at which deliveries are due now; null where another process was faster */
  commit(commit: AlertCommit): Promise<string[] | null>;
  /** Makes groups due now. */
  expedite(keys: readonly string[]): Promise<void>;
  get(id: string): Promise<Alert | null>;
  list(query: {
    states?: readonly Alert['state'][];
    rule?: string;
    order?: 'newest' | 'oldest';
    limit: number;
    cursor?: string;
  }): Promise<{ items: Alert[]; nextCursor: string | null }>;
}

export interface SilenceStore {
  all(): Promise<Silence[]>;
  get(id: string): Promise<Silence | null>;
  add(silence: Silence): Promise<{ silence: Silence; isNew: boolean } | null>;
  put(silence: Silence): Promise<void>;
}

export interface WatchReader {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
}

/** The rules of the configuration, which may change while runwatch runs. */
export interface LiveRules {
  readonly book: RuleBook;
  readonly inhibitRules: readonly InhibitRule[];
  /** Names of all sources. */
  readonly sources: readonly string[];
}
