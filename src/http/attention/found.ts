import type { AttentionItem } from '../../core/attention.ts';

export interface AttentionQuery {
  /** Also what a user has acknowledged, and alerts that are suppressed. */
  withAcknowledged: boolean;
  /** Only what is of these sources. */
  sources?: readonly string[] | undefined;
}

/** Entries of one answer, and endpoints that are read. */
export const MOST_ITEMS = 200;

/** For how long runs that are gone, and dead deliveries, are named: nothing else ends them, ms. */
export const NAMED_MS = 7 * 86_400_000;

/** Entries of some kinds. */
export interface Found {
  items: AttentionItem[];
  /** There are more. */
  isCapped: boolean;
}
