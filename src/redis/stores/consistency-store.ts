import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/outbox.ts';
import type { SourceConsistency } from '../../core/source/consistency.ts';
import { jsonOrNull } from '../connection.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { raisedPlan } from './event-plan.ts';

/** Longer than any downtime: the end of an inconsistency has an event, too. */
const KEPT_MS = 30 * 86_400_000;

/** A record of how far a source's polls agree, to replace the one that was read. */
export interface ConsistencyWrite {
  source: string;
  /** The record's text when it was read; '' for none. */
  before: string;
  after: SourceConsistency | null;
}

/** How far polls of each source's runs agree. Errors of the connection pass through. */
export class ConsistencyStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** @returns `text`: what a write must find unchanged */
  async read(source: string): Promise<{ found: SourceConsistency | null; text: string }> {
    const text = await this.redis.get(this.keys.sourceConsistency(source));
    return { found: jsonOrNull(text) as SourceConsistency | null, text: text ?? '' };
  }

  /**
   * Writes a record, null for none, and raises its event in the same step.
   * @returns the pools at which deliveries are due now; null where another process has written since
   */
  put(
    { source, before, after }: ConsistencyWrite,
    event: PlannedEvent | null,
  ): Promise<string[] | null> {
    const effects = event === null ? null : raisedPlan(this.keys, [event]);
    return this.redis.rwReplaceState(
      ...declaredKeys(this.keys, [this.keys.sourceConsistency(source)], effects),
      before,
      after === null ? '' : JSON.stringify(after),
      KEPT_MS,
      effects === null ? '' : JSON.stringify(effects),
    );
  }
}
