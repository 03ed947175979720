import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import type { ClaimTokens } from '../deliver/claim-tokens.ts';
import type { ClaimedMember, ClaimStore } from '../redis/claims.ts';
import type { DeliveryStore } from '../redis/stores/delivery-store.ts';
import type { EndpointStore } from '../redis/stores/endpoint-store.ts';
import type { ClaimedWork } from './processes.ts';

interface ClaimedDeliveriesDependencies {
  deliveries: DeliveryStore;
  endpointStates: EndpointStore;
  deliveryClaims: ClaimStore;
  limitsOf: (pool: string) => EndpointLimits;
}

/** Pools whose due times are moved back at the most. */
const POOLS_MOVED = 100_000;

/** Deliveries as work that is claimed: those of a dead process are due at once. */
export function claimedDeliveries(
  deps: ClaimedDeliveriesDependencies,
  own: { id: string; tokens: ClaimTokens },
): ClaimedWork {
  const { deliveries, endpointStates, deliveryClaims, limitsOf } = deps;

  async function release(held: readonly ClaimedMember[]): Promise<void> {
    const found = await deliveries.getMany(held.map(({ member }) => member));
    const byPool = new Map<string, { id: string; token: string }[]>();
    for (const [at, { member: id, token }] of held.entries()) {
      const pool = poolOf(found[at]?.delivery.endpoint ?? '');
      byPool.set(pool, [...(byPool.get(pool) ?? []), { id, token }]);
    }
    for (const [pool, claims] of byPool) {
      await endpointStates.release({ pool, limits: limitsOf(pool) }, claims);
    }
  }

  return {
    async takeOver(process) {
      for await (const held of deliveryClaims.heldBy(process)) await release(held);
    },
    async tend() {
      for await (const held of deliveryClaims.heldBy(own.id)) {
        const lost = held.filter(({ token }) => !own.tokens.isHeld(token));
        if (lost.length > 0) await release(lost);
      }
    },
    async moveBack(stepMs) {
      for (const { pool } of await endpointStates.duePools(POOLS_MOVED)) {
        await endpointStates.moveBack({ pool, limits: limitsOf(pool) }, stepMs);
      }
    },
  };
}
