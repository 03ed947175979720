import type { Redis } from 'ioredis';
import type { DiscoveryCursor } from '../../core/feed/discovery.ts';
import type { RunList } from '../../core/feed/run-list.ts';
import { jsonOrNull } from '../connection.ts';
import type { ClaimedMember } from '../leases.ts';
import type { Keys } from '../keys.ts';

/**
 * A cursor outlives every ordinary downtime, and not a discovery that is switched off for long: what
 * was started meanwhile is known by then.
 */
const CURSOR_KEPT_MS = 30 * 86_400_000;

/** Trouble is noted for this long after the last failure: longer than any pause between attempts. */
const TROUBLE_KEPT_MS = 3_600_000;

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
  async cursor(list: RunList): Promise<DiscoveryCursor | null> {
    const text = await this.redis.get(this.keys.discoveryCursor(list));
    return jsonOrNull(text) as DiscoveryCursor | null;
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

  /** Notes that a list could not be read. @returns failures in a row */
  async fail(list: RunList, message: string, now: number): Promise<number> {
    const key = this.keys.discoveryTrouble(list);
    const before = jsonOrNull(await this.redis.get(key)) as DiscoveryTrouble | null;
    const failures = (before?.failures ?? 0) + 1;
    const trouble: DiscoveryTrouble = { message, failures, since: before?.since ?? now };
    await this.redis.set(key, JSON.stringify(trouble), 'PX', TROUBLE_KEPT_MS);
    return failures;
  }

  /** Notes that a list can be read. @returns what stood in the way before; null for nothing */
  async recover(list: RunList): Promise<DiscoveryTrouble | null> {
    const key = this.keys.discoveryTrouble(list);
    const before = jsonOrNull(await this.redis.get(key)) as DiscoveryTrouble | null;
    if (before === null) return null;
    return (await this.redis.del(key)) === 1 ? before : null;
  }

  /** What stands in the way of reading lists; null for those that can be read. */
  async troubles(lists: readonly RunList[]): Promise<(DiscoveryTrouble | null)[]> {
    if (lists.length === 0) return [];
    const texts = await this.redis.mget(lists.map((list) => this.keys.discoveryTrouble(list)));
    return texts.map(jsonOrNull) as (DiscoveryTrouble | null)[];
  }
}
