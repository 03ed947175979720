import type { Alert, AlertQuery } from '../core/alert/alert.ts';
import type { AlertCommit, AlertWork, ReadGroup } from '../core/alert/batch.ts';
import type { RuleBook } from '../core/alert/entry.ts';
import type { InhibitRule } from '../core/alert/rule.ts';
import type { Silence, SilenceRefusal } from '../core/alert/silence.ts';
import type { Page } from '../core/page.ts';
import type { StoredWatch, WatchKey } from '../core/watch/watch.ts';

export interface AlertStore {
  take(
    token: string,
    options: { leaseMs: number; entries: number; groups: number },
  ): Promise<AlertWork>;
  /** The store's time, and for how long some process has judged, ms. */
  uptime(): Promise<{ now: number; uptimeMs: number }>;
  groups(keys: readonly string[]): Promise<Map<string, ReadGroup>>;
  /** How many groups rules have, by rule. */
  groupCounts(owners: readonly string[]): Promise<Map<string, number>>;
  /** @returns pools at which deliveries are due now; null where another process was faster */
  commit(commit: AlertCommit): Promise<string[] | null>;
  /** Makes groups due now. */
  expedite(keys: readonly string[]): Promise<void>;
  get(id: string): Promise<Alert | null>;
  list(query: AlertQuery): Promise<Page<Alert>>;
}

export interface SilenceStore {
  all(): Promise<Silence[]>;
  get(id: string): Promise<Silence | null>;
  add(silence: Silence): Promise<{ silence: Silence; isNew: boolean } | SilenceRefusal>;
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
