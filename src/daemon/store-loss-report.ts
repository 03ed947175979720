import { isoTime } from '../core/event/event.ts';
import type { FoundStore, KnownStore, LossReason } from '../core/store-loss.ts';

const WHAT = {
  emptied: 'Redis holds nothing of runwatch any more: it was emptied, or started without its data',
  replaced: 'Redis holds the data of another store than before',
  rolled_back:
    'Redis has gone back to an earlier state: a failover or a restored backup lost the last writes',
} as const satisfies Record<LossReason, string>;

const REMEDY =
  'watches that a process remembers are registered again; register others again yourself. Give Redis an append-only file, and keep other users from emptying it';

interface LossFacts {
  reason: LossReason;
  known: KnownStore;
  found: FoundStore;
  /** The epoch that begins. */
  epoch: string;
  /** Watches that are remembered and not in the store. */
  missing: number;
  at: number;
}

/** What the log and `store.data_lost` say of a loss. */
export function lossData({ reason, known, found, epoch, missing, at }: LossFacts) {
  return {
    reason,
    message: WHAT[reason],
    detected_at: isoTime(at),
    epoch,
    previous_epoch: known.epoch,
    known: { events: known.events, watches: known.watches },
    found: { events: found.events, watches: found.watches },
    watches_missing: missing,
    remedy: REMEDY,
  };
}

/** A loss that this process has noticed, or has seen that another one did. */
export interface NoticedLoss {
  /** Null where another process said it. */
  reason: LossReason | null;
  at: number;
  /** Watches that this process has registered again. */
  restored: number;
}

/** What readiness says of a loss. */
export function lossLine({ reason, at, restored }: NoticedLoss): string {
  const why = reason === null ? 'another process says how' : WHAT[reason];
  return `data was lost at ${isoTime(at)} (${why}); this process registered ${restored} watches again`;
}
