import type { Claim } from '../core/delivery/delivery.ts';
import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import type { ClaimTokens } from './claim-tokens.ts';
import type { PoolSlots } from './pool-slots.ts';
import type { EndpointStore } from './stores.ts';

export interface ClaimRoundsDependencies {
  endpoints: Pick<EndpointStore, 'claim'>;
  limitsOf: (pool: string) => EndpointLimits;
  tokens: ClaimTokens;
  slots: Pick<PoolSlots, 'adopt' | 'limitOf'>;
  /** How many more attempts at a pool this process may have under way besides so many that are planned. */
  room: (pool: string, planned: number) => number;
  /** Whether there is room for any. */
  hasRoom: () => boolean;
  /** Takes what was claimed. */
  run: (claims: readonly Claim[]) => void;
  onError: (error: unknown) => void;
}

/** Claims deliveries at the pools that it is asked for. */
export interface ClaimRounds {
  /** Also for the pools that were asked for before, and that there was no room for. */
  ask(pools: readonly string[]): void;
  /** Resolves once what is being claimed has been handed on. */
  settled(): Promise<void>;
}

/**
 * Claims in rounds, one at a time: the pools that are asked for meanwhile go together in the next
 * one, and those that there is no room for wait. What is lost with an error is found by the next sweep.
 */
export function createClaimRounds(deps: ClaimRoundsDependencies): ClaimRounds {
  const asked = new Set<string>();
  let isOn = false;
  let round = Promise.resolve();

  async function claimAsked(): Promise<void> {
    isOn = true;
    try {
      while (asked.size > 0 && deps.hasRoom()) {
        await Promise.all(takeRequests(asked, deps).map((one) => claimAt(one)));
      }
    } catch (error) {
      deps.onError(error);
    } finally {
      isOn = false;
    }
  }

  async function claimAt({ pool, most }: { pool: string; most: number }): Promise<void> {
    const token = deps.tokens.ask();
    const limits = deps.limitsOf(pool);
    try {
      const request = { pool, limits, most, token, askedAt: performance.now() };
      const { claims, slots } = await deps.endpoints.claim(request);
      deps.tokens.got(token, claims.length);
      deps.slots.adopt(pool, slots);
      deps.run(claims);
      // It gave as many as there was room for, or has more slots than were known of.
      if (claims.length === most && most < mostAt(pool, deps)) asked.add(pool);
    } catch (error) {
      deps.tokens.lose(token);
      throw error;
    }
  }

  return {
    ask(pools) {
      for (const pool of pools) asked.add(pool);
      if (!isOn && asked.size > 0) round = claimAsked();
    },
    settled: () => round,
  };
}

/**
 * As many pools as there is room for if each of them fills its share. One that has attempts under way
 * and no room for more is left to these: each of them claims the next by its end.
 */
function takeRequests(
  asked: Set<string>,
  deps: ClaimRoundsDependencies,
): { pool: string; most: number }[] {
  const requests: { pool: string; most: number }[] = [];
  let planned = 0;
  for (const pool of asked) {
    if (!deps.hasRoom()) break;
    const most = Math.min(mostAt(pool, deps), deps.room(pool, planned));
    if (most <= 0 && deps.room(pool, 0) > 0) break;
    asked.delete(pool);
    if (most <= 0) continue;
    requests.push({ pool, most });
    planned += most;
  }
  return requests;
}

/** As many as its slots, as far as is known here: more cannot be claimed. */
function mostAt(pool: string, { limitsOf, slots }: ClaimRoundsDependencies): number {
  return Math.min(limitsOf(pool).most, slots.limitOf(pool));
}
