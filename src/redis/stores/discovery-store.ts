import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/outbox.ts';
import type { DiscoveryCursor } from '../../core/feed/discovery.ts';
import type { RunList } from '../../core/feed/run-list.ts';
import { jsonOrNull, replies } from '../connection.ts';
import type { ClaimedMember } from '../leases.ts';
import { declaredKeys, type Keys } from '../keys.ts';
import { raisedPlan } from './event-plan.ts';

/**
 * A cursor outlives every ordinary downtime, and not a discovery that is switched off for long: what
 * was started meanwhile is known by then.
 */
const CURSOR_KEPT_MS = 30 * 86_400_000;

/** Why a list cannot be read at present. */
export interface DiscoveryTrouble {
  message: string;
  /** Attempts in a row that failed. */
  failures: number;
  /** When the first of them was, ms since the epoch. */
  since: number;
}

/**
 * What all processes know of the lists that runs are discovered in: how far that has come, and what
 * stands in its way.
 */
export class DiscoveryStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
  ) {}

  /** Null for a list that was never read. */
  async cursors(lists: readonly RunList[]): Promise<(DiscoveryCursor | null)[]> {
    if (lists.length === 0) return [];
    const texts = await this.redis.mget(lists.map((list) => this.keys.discoveryCursor(list)));
    return texts.map(jsonOrNull) as (DiscoveryCursor | null)[];
  }

  /** @returns false when the claim was lost, and nothing was written */
  async moveCursor(
    list: RunList,
    { member, token }: ClaimedMember,
    cursor: DiscoveryCursor,
  ): Promise<boolean> {
    const { requestClaims, discoveryCursor } = this.keys;
    const text = JSON.stringify(cursor);
    const [claims, place] = [requestClaims(list.source), discoveryCursor(list)];
    const moved = await this.redis.rwMoveCursor(claims, place, member, token, text, CURSOR_KEPT_MS);
    return moved === 1;
  }

  /**
   * Notes the first failure of a list, and raises its event in the same step.
   * @returns the pools at which deliveries are due now; null where another process was first
   */
  beginTrouble(
    list: RunList,
    trouble: DiscoveryTrouble,
    { keptMs, event }: { keptMs: number; event: PlannedEvent | null },
  ): Promise<string[] | null> {
    return this.turn(list, { keptMs, event, text: JSON.stringify(trouble) });
  }

  /** Notes one more failure. */
  async keepTrouble(list: RunList, trouble: DiscoveryTrouble, keptMs: number): Promise<void> {
    const key = this.keys.discoveryTrouble(list);
    await this.redis.set(key, JSON.stringify(trouble), 'PX', keptMs);
  }

  /**
   * Notes that a list can be read again, and raises the event that says so in the same step.
   * @returns as {@link beginTrouble}
   */
  endTrouble(list: RunList, event: PlannedEvent | null): Promise<string[] | null> {
    return this.turn(list, { keptMs: 0, event, text: '' });
  }

  private turn(
    list: RunList,
    { keptMs, event, text }: { keptMs: number; event: PlannedEvent | null; text: string },
  ): Promise<string[] | null> {
    const effects = event === null ? null : raisedPlan(this.keys, [event]);
    return this.redis.rwTurnState(
      ...declaredKeys(this.keys, [this.keys.discoveryTrouble(list)], effects),
      keptMs,
      effects === null ? '' : JSON.stringify(effects),
      text,
    );
  }

  /** How long ago each list was last read to its cursor, ms; null for one that never was. */
  async ages(lists: readonly RunList[]): Promise<(number | null)[]> {
    if (lists.length === 0) return [];
    const pipeline = this.redis.pipeline();
    for (const list of lists) pipeline.pttl(this.keys.discoveryCursor(list));
    const left = await replies<number>(pipeline);
    return left.map((ms) => (ms < 0 ? null : CURSOR_KEPT_MS - ms));
  }

  /** What stands in the way of reading lists; null for those that can be read. */
  async troubles(lists: readonly RunList[]): Promise<(DiscoveryTrouble | null)[]> {
    if (lists.length === 0) return [];
    const texts = await this.redis.mget(lists.map((list) => this.keys.discoveryTrouble(list)));
    return texts.map(jsonOrNull) as (DiscoveryTrouble | null)[];
  }
}
