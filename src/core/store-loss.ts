/** How far a store has come, as its counters say; they only grow. */
interface StorePlaces {
  events: number;
  watches: number;
}

/** What is known of a store: its epoch, and the highest places that were seen. */
export interface KnownStore extends StorePlaces {
  epoch: string;
}

/** A store as it is found: its epoch and those before it, the present one first; none where it has none. */
export interface FoundStore extends StorePlaces {
  epochs: readonly string[];
}

/** How a store lost what it had. */
export type LossReason = 'emptied' | 'replaced' | 'rolled_back';

/** What a look at the store comes to. `renewed`: another process has noticed a loss, and said so. */
export type StoreFinding =
  { kind: 'same' } | { kind: 'renewed' } | { kind: 'lost'; reason: LossReason };

/** Epochs that are kept, so that a process that was away for some of them knows the store again. */
const EPOCHS_KEPT = 20;

/**
 * Compares a store with what is known of it.
 * @param isSuspected it is known otherwise that writes are gone
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
