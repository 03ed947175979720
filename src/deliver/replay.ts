import type { EndpointLimits, StoredEndpoint } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import {
  isOutstanding,
  replayed,
  wantedNow,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery.ts';
import type { DeliveryStore, EndpointStore } from './stores.ts';

interface ReplayDependencies {
  deliveries: DeliveryStore & {
    /** The next ids of those that are to go out again, and what takes them off. */
    nextReplays(limit: number): Promise<string[]>;
    endReplays(ids: string[]): Promise<void>;
  };
  endpoints: EndpointStore;
  limitsOf: (pool: string) => EndpointLimits;
  dispatch: (pools: string[]) => void;
  now: () => number;
}

/** Sends deliveries again, or now, at a user's wish. */
export interface Replay {
  /**
   * One delivery, at once: one that has settled again, with the same event id; one that waits now, or
   * the first of its order where that is another. @returns false when there is none of this id
   */
  one(id: string): Promise<boolean>;
  /** Sends again what was asked for in ranges, until nothing of it is left. */
  replayRequested(): Promise<void>;
}

/** Tries to make a delivery due that is changed by others at the same time. */
const TRIES = 3;

/** Deliveries that go out again by one step. */
const CHUNK = 100;

export function createReplay(deps: ReplayDependencies): Replay {
  const { deliveries, endpoints, now } = deps;

  /** @returns false where it is being attempted, or has changed */
  async function moveTo(before: StoredDelivery, after: Delivery, endpoint: StoredEndpoint) {
    const limits = deps.limitsOf(poolOf(after.endpoint));
    const step = { before, after, endpoint, limits, most: 0, nextToken: '', now: now() };
    return typeof (await deliveries.move(step)) !== 'string';
  }

  async function sendNow(before: StoredDelivery): Promise<boolean> {
    const { delivery } = before;
    const endpoint = await endpoints.get(delivery.endpoint);
    const isMoved = await moveTo(before, wantedNow(delivery, now()), endpoint);
    if (isMoved) deps.dispatch([poolOf(delivery.endpoint)]);
    return isMoved;
  }

  /** The first of its order, unless that is this one. */
  async function firstBefore({ delivery }: StoredDelivery): Promise<StoredDelivery | null> {
    const first = await deliveries.firstInOrder(delivery);
    return first === null || first === delivery.id ? null : deliveries.get(first);
  }

  async function replayChunk(ids: string[]): Promise<void> {
    const found = await deliveries.getMany(ids);
    const settled = found.flatMap((one) =>
      one === null || isOutstanding(one.delivery.state) ? [] : [one],
    );
    const names = [...new Set(settled.map(({ delivery }) => delivery.endpoint))];
    const states = new Map((await endpoints.getMany(names)).map((one) => [one.receiver, one]));
    await Promise.all(
      settled.map(async (one) => {
        const endpoint = states.get(one.delivery.endpoint);
        return endpoint && moveTo(one, replayed(one.delivery, now()), endpoint);
      }),
    );
    deps.dispatch([...new Set(names.map(poolOf))]);
  }

  return {
    async one(id) {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const stored = await deliveries.get(id);
        if (stored === null) return false;
        const isMoved = await sendNow(stored);
        const first = await firstBefore(stored);
        if (first !== null) await sendNow(first);
        if (isMoved) break;
      }
      return true;
    },

    async replayRequested() {
      for (;;) {
        const ids = await deliveries.nextReplays(CHUNK);
        if (ids.length === 0) return;
        await replayChunk(ids);
        await deliveries.endReplays(ids);
      }
    },
  };
}
