import { kindOfKey } from '../key-sizes.ts';
import type { Keys } from '../keys.ts';
import type { RepairPlan } from '../stores/repair-plan.ts';

/**
 * That a record stands in a log, an index or a sorted set. The chunks of a log are one key here, and so are the blocks
 * of the ids of a source's runs.
 */
export interface Entry {
  key: string;
  /** A number, or a member of a sorted set. */
  name: string;
  /** In a log whose number it is; in a sorted set the score, where records say which that is; else nothing. */
  value: string;
}

/** A member of a sorted set that may stand there from a time on. */
export interface TimedEntry {
  key: string;
  member: string;
  /** Ms since the epoch. */
  from: number;
}

/** The sorted sets that records say themselves that they belong in. */
const SORTED: ReadonlySet<string> = new Set([
  'watches-changed',
  'watches-ended',
  'pack-due',
  'deliveries-settled',
  'own-events',
  'live-events',
  'live-deliveries',
  'event-deliveries',
  'alerts',
  'alerts-resolved',
  'batches',
  'batch-webhooks',
  'batches-idle',
]);

export function isSortedKind(kind: string): boolean {
  return SORTED.has(kind);
}

/** Sorted sets by times that are noted when a step is taken, or deferred later: records say when at the earliest. */
const FROM_A_TIME: ReadonlySet<string> = new Set([
  'watches-ended',
  'pack-due',
  'own-events',
  'batches-idle',
]);

/** Whether the score of a member follows from its record; else that is the earliest time. */
export function isExact(kind: string, member: string): boolean {
  return (
    !FROM_A_TIME.has(kind) &&
    // A delivery that is live has settled when that was written; what is packed has that time in its record.
    (kind !== 'deliveries-settled' || isNumber(member))
  );
}

export function isNumber(name: string): boolean {
  return /^\d{1,15}$/.test(name);
}

/** The entries that a record has, each once. */
export function entriesOfPlan(keys: Keys, { logs, indexes, sorted, runIds }: RepairPlan): Entry[] {
  const found = new Map<string, Entry>();
  const add = (entry: Entry) => void found.set(`${entry.key} ${entry.name}`, entry);
  for (const { log, number, value } of logs) add({ key: log, name: String(number), value });
  for (const { index, number } of indexes) add({ key: index, name: String(number), value: '' });
  for (const { key, score, member } of sorted) {
    const kind = kindOfKey(keys, key);
    if (!isSortedKind(kind)) continue;
    add({ key, name: member, value: isExact(kind, member) ? String(score) : '' });
  }
  for (const name of runIds?.members ?? []) add({ key: runIds?.block ?? '', name, value: '' });
  return [...found.values()];
}

/** The members of sorted sets of a record that may stand there from a time on. */
export function timedOfPlan(keys: Keys, { sorted }: RepairPlan): TimedEntry[] {
  return sorted.flatMap(({ key, score, member }) =>
    isExact(kindOfKey(keys, key), member) || !isSortedKind(kindOfKey(keys, key))
      ? []
      : [{ key, member, from: score }],
  );
}

/** Whether a record has an entry. */
export function isInPlan(keys: Keys, plan: RepairPlan, { key, name }: Entry): boolean {
  return entriesOfPlan(keys, plan).some((one) => one.key === key && one.name === name);
}

/** The source whose ids of runs a block has, or an entry with its key. */
export function sourceOfRunIds(keys: Keys, block: string): string {
  const [source = ''] = block.slice(keys.runIds('').length).split(':', 1);
  return source;
}
