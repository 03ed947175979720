/** The store's counters, which only grow. */
interface StorePlaces {
  events: number;
  watches: number;
}

/** What a process remembers of a store: its epoch, and the highest counters seen. */
export interface KnownStore extends StorePlaces {
  epoch: string;
}

/** A store as found: its epoch and earlier ones, the present one first; empty where it has none. */
export interface FoundStore extends StorePlaces {
  epochs: readonly string[];
}

/** How a store lost data. `damaged`: it lost some records, and others that point to them are there. */
export type LossReason = 'emptied' | 'replaced' | 'rolled_back' | 'damaged';

/**
 * The result of a check of the store. `renewed`: another process noticed a loss and began a new
 * epoch.
 */
export type StoreFinding = { kind: 'same' | 'renewed' } | { kind: 'lost'; reason: LossReason };

/** Epochs to keep, so that a process recognizes the store after it missed some of them. */
const EPOCHS_KEPT = 20;

/**
 * Compares a store with what the process remembers of it.
 * @param isSuspected other evidence shows that writes were lost
 */
export function compareStore(
  known: KnownStore,
  found: FoundStore,
  isSuspected = false,
): StoreFinding {
  const [epoch] = found.epochs;
  if (epoch === undefined) return { kind: 'lost', reason: 'emptied' };
  if (!found.epochs.includes(known.epoch)) return { kind: 'lost', reason: 'replaced' };
  if (epoch !== known.epoch) return { kind: 'renewed' };
  const isLower = found.events < known.events || found.watches < known.watches;
  return isLower || isSuspected ? { kind: 'lost', reason: 'rolled_back' } : { kind: 'same' };
}

/** The epochs of a store that begins a new one. */
export function epochsAfter(next: string, known: KnownStore, found: FoundStore): string[] {
  return [...new Set([next, known.epoch, ...found.epochs])].slice(0, EPOCHS_KEPT);
}
