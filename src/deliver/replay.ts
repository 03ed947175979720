import type { EndpointLimits } from '../core/delivery/endpoint-state.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import {
  isOutstanding,
  replayed,
  sentInstead,
  wantedNow,
  withheld,
  type Delivery,
  type StoredDelivery,
} from '../core/delivery/delivery.ts';
import type { DeliveryStep } from '../core/delivery/outbox.ts';
import type { ReplayRequest } from '../core/delivery/outbox.ts';
import type { DeliveryStore, Outbox, ReplayRequests } from './ports.ts';

interface ReplayDependencies {
  deliveries: Pick<DeliveryStore, 'get' | 'getMany'>;
  outbox: Pick<Outbox, 'add' | 'requeue' | 'withhold' | 'firstInOrder'> & ReplayRequests;
  limitsOf: (pool: string) => EndpointLimits;
  dispatch: (pools: string[]) => void;
  newToken: () => string;
  now: () => number;
}

/** Sends settled deliveries again, and waiting ones now, for users. */
export interface Replay {
  /**
   * Makes one delivery due at once, with the same event id: a settled one again, a waiting one now. If
   * others precede it in its ordering key, the first of them too.
   * @param to another endpoint, which gets a delivery of its own; a waiting one is superseded by it
   * @returns the id of the delivery that is sent, null when no delivery has this id
   */
  one(id: string, to?: string): Promise<string | null>;
  /**
   * Redelivers the requested ranges, unless another process does. Stops after a chunk once `stopping`
   * aborts; the rest remains requested.
   */
  replayRequested(stopping: AbortSignal): Promise<void>;
}

/** Attempts to change a delivery that other processes change at the same time. */
const TRIES = 3;

/** Deliveries of one chunk of a requested range. */
const CHUNK = 100;

/** How long the lease on the requested ranges lasts unless the next chunk renews it, ms. */
const LEASE_MS = 30_000;

export function createReplay(deps: ReplayDependencies): Replay {
  const { deliveries, outbox } = deps;

  async function replayChunk(requests: readonly ReplayRequest[]): Promise<void> {
    await replayInPlace(
      deps,
      requests.filter(({ to }) => to === undefined).map(({ id }) => id),
    );
    const elsewhere = requests.filter(({ to }) => to !== undefined);
    const found = await deliveries.getMany(elsewhere.map(({ id }) => id));
    // One after the other, to keep the order of each run.
    for (const [at, { to = '' }] of elsewhere.entries()) {
      const stored = found[at] ?? null;
      if (stored !== null && stored.delivery.endpoint !== to) await sendElsewhere(deps, stored, to);
    }
  }

  return {
    async one(id, to) {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const stored = await deliveries.get(id);
        if (stored === null) return null;
        // Another request at the same time has made it due.
        if (tries > 0 && stored.delivery.urgent) return id;
        const isElsewhere = to !== undefined && to !== stored.delivery.endpoint;
        if (isElsewhere) return sendElsewhere(deps, stored, to);
        const isRequeued = await sendNow(deps, stored);
        const first = await firstBefore(deps, stored);
        if (first !== null) await sendNow(deps, first);
        if (isRequeued) break;
      }
      return id;
    },

    async replayRequested(stopping) {
      if ((await outbox.nextReplays(1)).length === 0) return;
      const token = deps.newToken();
      // One process at a time: two would send a chunk twice, and mix up the order of a run.
      try {
        while (!stopping.aborted && (await outbox.replayLease.take(token, LEASE_MS))) {
          const requests = await outbox.nextReplays(CHUNK);
          if (requests.length === 0) break;
          await replayChunk(requests);
          await outbox.endReplays(requests);
        }
      } finally {
        await outbox.replayLease.end(token);
      }
    },
  };
}

function stepOf(
  { limitsOf, now }: ReplayDependencies,
  before: StoredDelivery,
  after: Delivery,
): DeliveryStep {
  return { before, after, limits: limitsOf(poolOf(after.endpoint)), now: now() };
}

/** @returns false when the delivery has changed */
async function sendNow(deps: ReplayDependencies, before: StoredDelivery): Promise<boolean> {
  const { delivery } = before;
  const step = stepOf(deps, before, wantedNow(delivery, deps.now()));
  const isRequeued = await deps.outbox.requeue(step);
  if (isRequeued) deps.dispatch([poolOf(delivery.endpoint)]);
  return isRequeued;
}

/** The first delivery of its ordering key, unless that is this one. */
async function firstBefore(
  { deliveries, outbox }: ReplayDependencies,
  { delivery }: StoredDelivery,
): Promise<StoredDelivery | null> {
  const first = await outbox.firstInOrder(delivery);
  return first === null || first === delivery.id ? null : deliveries.get(first);
}

/**
 * Sends the event to another endpoint. A waiting delivery is superseded by that; one with an attempt in
 * progress, or a settled one, does not change.
 * @returns the id of the delivery that is sent
 */
async function sendElsewhere(
  deps: ReplayDependencies,
  before: StoredDelivery,
  to: string,
): Promise<string> {
  const { deliveries, outbox } = deps;
  const { delivery } = before;
  const instead = sentInstead(delivery, to, deps.now());
  const there = await deliveries.get(instead.id);
  if (there === null) await outbox.add([instead]);
  else await sendNow(deps, there);
  if (isOutstanding(delivery.state)) {
    const superseded = stepOf(deps, before, withheld(delivery, 'superseded'));
    await outbox.withhold({ ...superseded, meetsWish: true });
  }
  deps.dispatch([poolOf(to)]);
  return instead.id;
}

/**
 * Redelivers to their own endpoints. Where others precede a waiting one in its ordering key, the first
 * of them is due, too.
 */
async function replayInPlace(deps: ReplayDependencies, ids: string[]): Promise<void> {
  if (ids.length === 0) return;
  const { outbox } = deps;
  const found = await requeueAll(deps, ids);
  const waiting = found.filter(({ delivery }) => isOutstanding(delivery.state));
  const firsts = await Promise.all(waiting.map(({ delivery }) => outbox.firstInOrder(delivery)));
  const others = new Set(firsts.filter((id) => id !== null && !ids.includes(id)));
  await requeueAll(deps, [...others] as string[]);
  deps.dispatch([...new Set(found.map(({ delivery }) => poolOf(delivery.endpoint)))]);
}

/**
 * Makes deliveries due at once, as far as their receivers take any. One that was packed meanwhile is
 * tried again; one whose state has changed is not, since an attempt has come first.
 * @returns the deliveries as they were before
 */
async function requeueAll(
  deps: ReplayDependencies,
  ids: readonly string[],
): Promise<StoredDelivery[]> {
  const all = (await deps.deliveries.getMany(ids)).filter((one) => one !== null);
  const states = new Map(all.map(({ delivery }) => [delivery.id, delivery.state]));
  let found = all;
  for (let tries = 0; tries < TRIES && found.length > 0; tries += 1) {
    const isRequeued = await Promise.all(
      found.map((before) =>
        deps.outbox.requeue(stepOf(deps, before, replayed(before.delivery, deps.now()))),
      ),
    );
    const left = found.filter((_, at) => !isRequeued[at]).map(({ delivery }) => delivery.id);
    found = (await deps.deliveries.getMany(left)).filter(
      (one) => one !== null && one.delivery.state === states.get(one.delivery.id),
    ) as StoredDelivery[];
  }
  return all;
}
