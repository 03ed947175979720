import type { Alert, AlertCounts, AlertQuery } from '../core/alert/alert.ts';
import type { AlertEntry, RuleBook, UsualDuration } from '../core/alert/entry.ts';
import type { AlertCommit, AlertWork, ReadGroup } from '../core/alert/judgement.ts';
import type { InhibitRule } from '../core/alert/rule.ts';
import type { Silence, SilenceRefusal } from '../core/alert/silence.ts';
import type { Page } from '../core/page.ts';
import type { LinksOf } from '../core/run/links.ts';
import type { StoredWatch, WatchKey } from '../core/watch/watch.ts';

export interface AlertStore {
  take(
    token: string,
    options: { leaseMs: number; entries: number; groups: number; seen: readonly string[] },
  ): Promise<AlertWork>;
  /** The store's time, and for how long sources were seen. */
  seen(): Promise<Pick<AlertWork, 'now' | 'seenMs'>>;
  /** Adds what rules have to judge, beside any change of a watch. */
  enter(entries: readonly AlertEntry[]): Promise<void>;
  groups(keys: readonly string[]): Promise<Map<string, ReadGroup>>;
  /** How many groups there are, by what they count for. */
  groupCounts(owners: readonly string[]): Promise<Map<string, number>>;
  /** @returns pools at which deliveries are due now; null where another process was faster */
  commit(commit: AlertCommit): Promise<string[] | null>;
  /** Makes groups due now. */
  expedite(keys: readonly string[]): Promise<void>;
  /** Which form of each deadline rule has been applied to the runs that go on. */
  appliedDeadlines(): Promise<Record<string, string>>;
  setDeadlines(deadlines: ReadonlyMap<string, number>): Promise<void>;
  noteDeadlines(forms: Readonly<Record<string, string>>): Promise<void>;
  get(id: string): Promise<Alert | null>;
  list(query: AlertQuery): Promise<Page<Alert>>;
}

export interface SilenceStore {
  all(): Promise<Silence[]>;
  get(id: string): Promise<Silence | null>;
  add(silence: Silence): Promise<{ silence: Silence; isNew: boolean } | SilenceRefusal>;
  put(silence: Silence): Promise<void>;
}

interface WatchReader {
  getMany(keys: WatchKey[]): Promise<(StoredWatch | null)[]>;
  /** Active watches of a source, a chunk at a time. */
  active(source: string): AsyncIterable<StoredWatch[]>;
}

/** What the engine reads and writes. */
export interface AlertStores {
  alerts: AlertStore;
  silences: Pick<SilenceStore, 'all'>;
  watches: WatchReader;
}

/** The rules of the configuration, which may change while runwatch runs. */
export interface LiveRules {
  readonly book: RuleBook;
  readonly inhibitRules: readonly InhibitRule[];
  /** Names of all sources. */
  readonly sources: readonly string[];
  /** How long a workflow's runs usually take. */
  readonly usual: UsualDuration;
}

/** What the engine asks of the process that it works in. */
export interface AlertHost {
  /** The token by which this process claims the work. */
  readonly token: string;
  newEventId(): string;
  /** The endpoints that an event of an alert goes to, of those that it names. */
  receivers(type: string, named: readonly string[]): string[];
  /** Where users see an alert; null where no such address is known. */
  urlOf(alert: Pick<Alert, 'id'>): string | null;
  /** Where users see the alerts of a rule. */
  urlOfRule(rule: string): string | null;
  linksOf: LinksOf;
  /** The sources of which events may be missing now. */
  sourcesInDoubt(): Promise<ReadonlySet<string>>;
  /** Whether another live process has another configuration. */
  isMixed(): Promise<boolean>;
  /** Has runs of a source read soon. */
  readSoon(source: string, runIds: readonly string[]): Promise<void>;
  dispatch(pools: string[]): void;
  /** The time by the store's clock as this process knows it, milliseconds since the epoch. */
  now(): number;
  /** Reads the store's clock, and takes out a step by which it was set forward. */
  measureClock(): Promise<void>;
  /** What became of matching events. */
  count(counts: AlertCounts): void;
  onUnreadable(entry: string): void;
  /** A rule has as many groups as it may have, and so many events of others were counted together. */
  onOverflow(rule: string, events: number): void;
  /** A group was due again at once after its timer was handled: a defect. */
  onSpinning(group: string): void;
}
