import type { RequestKind } from '../core/source/request-order.ts';
import type { DurationSample } from '../core/cadence/phase.ts';
import type { AuditRecord } from '../core/audit.ts';
import type { Batch } from '../core/batch.ts';
import type { Delivery } from '../core/delivery/delivery.ts';
import type { RunwatchEvent } from '../core/event/event.ts';
import type { ChangedWatch, Watch } from '../core/watch/watch.ts';

/** What a write must find unchanged: where a watch was erased and registered again, versions may be equal. */
export interface WatchIdentity {
  version: number;
  /** Its number in indexes; no two registrations have the same. */
  number: number;
}

/** A watch as read from the store. */
export interface StoredWatch extends WatchIdentity {
  watch: Watch;
  /** Its document in the store: a write that leaves it unchanged sends none. */
  doc?: string;
  /** The store keeps it and its history in one packed record. */
  isPacked?: true;
}

/** A watch to write, with its state when read and what its change gives rise to. */
export interface WatchChange extends ChangedWatch {
  before: StoredWatch | null;
  events: RunwatchEvent[];
  deliveries: Delivery[];
  /** Duration samples; absent for changes without a poll. */
  samples?: DurationSample[];
  /** The change of the schedule in the same step; absent for none. */
  schedule?: ScheduleChange;
  /** The batches that the watch joins in the same step; absent for none. */
  joins?: BatchJoin[];
  /** What a user did; absent where no user did it. */
  audit?: AuditRecord | null;
}

/** A watch joins a batch. */
export interface BatchJoin {
  batch: Batch;
  /** Of a batch that begins: the id of the one that its name stood for, '' for none. */
  was?: string;
  /** None may join it from then on. */
  closes?: boolean;
}

/** How many active watches a token may have registered. */
export interface WatchQuota {
  token: string;
  most: number;
}

/** The next poll of a watch. */
export interface NextPoll {
  /** When it is due. */
  inMs: number;
  kind: RequestKind;
  /** From when on a request that is left over may make it; absent for not before it is due. */
  spareMs?: number;
}

/** A change of the schedule. Times count from the write, by the store's clock. */
export type ScheduleChange =
  /** A claimed poll is done: the watch is due again, or leaves the schedule. */
  | {
      does: 'settle';
      token: string;
      next: NextPoll | null;
      /** How long its permit counts after the answer; null where that need not be written. */
      permitMs: number | null;
    }
  /** The watch is due within a time, and enters the schedule unless it is there already. */
  | { does: 'enter'; withinMs: number; kind: RequestKind }
  /** The watch is due within a time, if it is in the schedule at all. */
  | { does: 'expedite'; withinMs: number }
  /** The watch leaves the schedule. A poll under way continues, and finds the watch changed. */
  | { does: 'leave' };
