import type { Redis } from 'ioredis';
import type { PlannedEvent } from '../../core/delivery/planned-event.ts';
import type { DiscoveryCursor } from '../../core/feed/discovery.ts';
import type { RunList } from '../../core/feed/run-list.ts';
import { jsonOrNull, replies } from '../connection.ts';
import type { ClaimedMember } from '../leases.ts';
import type { Keys } from '../keys.ts';
import { CLAIMS } from '../lua/leases.ts';
import { script } from '../script.ts';
import { effectsOf, PLAN_DELIVERIES, RAISE, TURN_STATE } from './event-plan.ts';

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
 * Moves the cursor of a list, and raises an event with it, where the claim of its first page is still ours. One that
 * remains where it is does not make the append-only file grow by all that it holds.
 */
const MOVE_CURSOR = script(
  'rwMoveCursor',
  {
    keys: ['claims', 'cursor'],
    args: ['member', 'token', 'text', 'keptMs', 'effects?'],
    reply: (pools: string[] | null) => pools,
  },
  `
${CLAIMS}
${PLAN_DELIVERIES}
${RAISE}
if holder(keys.claims, args.member) ~= args.token then return false end
local pools = args.effects and raise(cjson.decode(args.effects)) or {}
-- Last, so that a step that fails before is taken again.
if redis.call('GET', keys.cursor) == args.text then
  redis.call('PEXPIRE', keys.cursor, args.keptMs)
else
  redis.call('SET', keys.cursor, args.text, 'PX', args.keptMs)
end
return pools
`,
);

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

  /**
   * Moves the cursor, and raises an event in the same step.
   * @returns the pools at which deliveries are due now; null when the claim was lost, and nothing was written
   */
  async moveCursor(
    list: RunList,
    { member, token }: ClaimedMember,
    cursor: DiscoveryCursor,
    event: PlannedEvent | null = null,
  ): Promise<string[] | null> {
    const { requestClaims, discoveryCursor } = this.keys;
    const { effects, named } = effectsOf(this.keys, event);
    return MOVE_CURSOR.run(
      this.redis,
      { claims: requestClaims(list.source), cursor: discoveryCursor(list) },
      { member, token, text: JSON.stringify(cursor), keptMs: CURSOR_KEPT_MS, effects },
      { further: named },
    );
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
    const state = this.keys.discoveryTrouble(list);
    const { effects, named } = effectsOf(this.keys, event);
    const about = { keptMs, says: text, effects };
    return TURN_STATE.run(this.redis, { state }, about, { further: named });
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
