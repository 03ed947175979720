import {
  replayed,
  sentInstead,
  wantedNow,
  withheld,
  type Delivery,
  type DeliveryFilter,
  type StoredDelivery,
} from '../core/delivery/delivery.ts';
import { isOutstanding } from '../core/delivery/state.ts';
import type { AuditRecord } from '../core/audit.ts';
import { withMoments, type WhenRange } from '../core/time.ts';
import type { DeliveryStep, ReplayRequest } from '../redis/stores/delivery-step.ts';
import { poolOf } from '../core/delivery/receiver.ts';
import type { Deliverer } from './deliverer.ts';

/** Why a delivery is sent: what the audit log has of a user, in the same step, or a requested replay. */
type Cause = Pick<DeliveryStep, 'audit' | 'replay'>;

/** Attempts to change a delivery that other processes change at the same time. */
const TRIES = 3;

/**
 * Which deliveries go out again, by when they were created; without a state those that are dead or were
 * skipped.
 */
export interface RedeliverRange
  extends Pick<DeliveryFilter, 'endpoint' | 'state' | 'sources'>, WhenRange {
  /** Another endpoint; then those are meant by default that wait, too. */
  to?: string | undefined;
}

/** States to redeliver if none is named: settled without a delivery. */
const AGAIN_BY_DEFAULT = ['dead', 'skipped'] as const;

/** States to send to another endpoint if none is named: waiting deliveries too. */
const ELSEWHERE_BY_DEFAULT = ['pending', 'parked', ...AGAIN_BY_DEFAULT] as const;

/** Deliveries of a range that are requested at a time. */
const REQUESTED = 200;

/** Deliveries of one chunk of a requested range. */
const CHUNK = 100;

/** How long the lease on the requested ranges lasts unless the next chunk renews it, ms. */
const LEASE_MS = 30_000;

/** Sends settled deliveries again, and waiting ones now, for users. */
export class Replay {
  constructor(private readonly deliverer: Deliverer) {}

  /**
   * Makes one delivery due at once, with the same event id: a settled one again, a waiting one now. If
   * others precede it in its ordering key, the first of them too.
   * @param to another endpoint, which gets a delivery of its own; a waiting one is superseded by it
   * @param audit what the audit log has of it, in the same step
   * @returns the id of the delivery that is sent, null when no delivery has this id
   */
  async one(id: string, to?: string, audit: AuditRecord | null = null): Promise<string | null> {
    const { deliveries } = this.deliverer.process.stores;
    let asked: Delivery | undefined;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const stored = await deliveries.get(id);
      if (stored === null) return null;
      if (isDone(stored.delivery, asked)) return id;
      asked ??= stored.delivery;
      const isElsewhere = to !== undefined && to !== stored.delivery.endpoint;
      if (isElsewhere) return this.sendElsewhere(stored, to, { audit });
      const isRequeued = await this.sendNow(stored, { audit });
      const first = await this.firstBefore(stored);
      if (first !== null) await this.sendNow(first);
      if (isRequeued) break;
    }
    return id;
  }

  /**
   * Requests that all deliveries of a range are sent again.
   * @param audit what the audit log has of it, before the first of them is requested
   * @returns how many they are
   */
  async request(
    { to, state, ...range }: RedeliverRange,
    audit: AuditRecord | null = null,
  ): Promise<number> {
    const { now, stores } = this.deliverer.process;
    // A process that dies among them leaves those that it has requested.
    if (audit !== null) await stores.audit.append(audit);
    let count = 0;
    const byDefault = to === undefined ? AGAIN_BY_DEFAULT : ELSEWHERE_BY_DEFAULT;
    const filter = { ...range, state: state ?? byDefault };
    const created = stores.deliveries.created(withMoments(filter, now()), REQUESTED);
    for await (const found of created) {
      // What is that endpoint's own does not go there again.
      const meant = found.filter(({ endpoint }) => endpoint !== to);
      await stores.outbox.requestReplays(meant, to);
      count += meant.length;
    }
    this.deliverer.replayRanges();
    return count;
  }

  /**
   * Redelivers the requested ranges, unless another process does. Stops after a chunk once `stopping`
   * aborts; the rest remains requested.
   */
  async replayRequested(stopping: AbortSignal): Promise<void> {
    const { process } = this.deliverer;
    const { outbox } = process.stores;
    if ((await outbox.nextReplays(1)).length === 0) return;
    const token = process.newToken();
    // One process at a time: two would send a chunk twice, and mix up the order of a run.
    try {
      while (!stopping.aborted && (await outbox.replayLease.take(token, LEASE_MS))) {
        const requests = await outbox.nextReplays(CHUNK);
        if (requests.length === 0) break;
        await this.replayChunk(requests);
        await outbox.endReplays(requests);
      }
    } finally {
      await outbox.replayLease.end(token);
    }
  }

  private async replayChunk(requests: readonly ReplayRequest[]): Promise<void> {
    const { deliveries } = this.deliverer.process.stores;
    const inPlace = requests.filter(({ to }) => to === undefined);
    await this.replayInPlace(inPlace);
    const elsewhere = requests.filter(({ to }) => to !== undefined);
    const found = await deliveries.getMany(elsewhere.map(({ id }) => id));
    // One after the other, to keep the order of each run.
    for (const [at, replay] of elsewhere.entries()) {
      const stored = found[at] ?? null;
      const { to = '' } = replay;
      if (stored === null || stored.delivery.endpoint === to) continue;
      await this.sendElsewhere(stored, to, { replay });
    }
  }

  /** @returns false when the delivery has changed */
  private async sendNow(before: StoredDelivery, cause: Cause = {}): Promise<boolean> {
    const { process } = this.deliverer;
    const { delivery } = before;
    const step = this.stepOf(before, wantedNow(delivery, process.now()));
    const isRequeued = await process.stores.outbox.requeue({ ...step, ...cause });
    if (isRequeued) this.deliverer.dispatch([poolOf(delivery.endpoint)]);
    return isRequeued;
  }

  /** The first delivery of its ordering key, unless that is this one or has settled meanwhile. */
  private async firstBefore({ delivery }: StoredDelivery): Promise<StoredDelivery | null> {
    const { deliveries, outbox } = this.deliverer.process.stores;
    const first = await outbox.firstInOrder(delivery);
    const stored = first === null || first === delivery.id ? null : await deliveries.get(first);
    return isWaiting(stored) ? stored : null;
  }

  /**
   * Sends the event to another endpoint. A waiting delivery is superseded by that; one with an attempt in
   * progress, or a settled one, does not change.
   * @returns the id of the delivery that is sent
   */
  private async sendElsewhere(before: StoredDelivery, to: string, cause: Cause): Promise<string> {
    const { process } = this.deliverer;
    const instead = sentInstead(before.delivery, to, process.now());
    // After a crash a requested replay is carried out again, and then sends it. The request of a user is not.
    if (cause.replay !== undefined) await this.supersede(before);
    await this.addOrSend(instead, cause);
    if (cause.replay === undefined) await this.supersede(before);
    this.deliverer.dispatch([poolOf(to)]);
    return instead.id;
  }

  /** Again where a failed attempt changes the delivery that is there already: nothing would be sent by then. */
  private async addOrSend(delivery: Delivery, cause: Cause): Promise<void> {
    const { deliveries, outbox } = this.deliverer.process.stores;
    let asked: Delivery | undefined;
    for (let tries = 0; tries < TRIES; tries += 1) {
      const there = await deliveries.get(delivery.id);
      if (there === null) return outbox.add([delivery], cause);
      if (isDone(there.delivery, asked)) return;
      asked ??= there.delivery;
      if (await this.sendNow(there, cause)) return;
    }
  }

  private async supersede(before: StoredDelivery): Promise<void> {
    const { delivery } = before;
    if (!isOutstanding(delivery.state)) return;
    const step = this.stepOf(before, withheld(delivery, 'superseded'));
    await this.deliverer.process.stores.outbox.withhold({ ...step, meetsWish: true });
  }

  /**
   * Redelivers to their own endpoints. Where others precede a waiting one in its ordering key, the first
   * of them is due, too.
   */
  private async replayInPlace(requests: readonly ReplayRequest[]): Promise<void> {
    if (requests.length === 0) return;
    const { deliveries, outbox } = this.deliverer.process.stores;
    const asked = requests.map(({ id }) => id);
    const found = (await deliveries.getMany(asked)).filter((one) => one !== null);
    const waiting = found.filter(isWaiting);
    const firsts = await Promise.all(waiting.map(({ delivery }) => outbox.firstInOrder(delivery)));
    const others = firsts.filter((id): id is string => id !== null && !asked.includes(id));
    // These come first: the step of a requested one ends its request.
    const preceding = await deliveries.getMany([...new Set(others)]);
    await this.requeueAll(preceding.filter(isWaiting));
    await this.requeueAll(found);
    this.deliverer.dispatch([...new Set(found.map(({ delivery }) => poolOf(delivery.endpoint)))]);
  }

  /**
   * Makes deliveries due at once, as far as their receivers take any. One that was packed meanwhile is
   * tried again; one whose state has changed is not, since an attempt has come first.
   */
  private async requeueAll(all: readonly StoredDelivery[]): Promise<void> {
    const { process } = this.deliverer;
    const { deliveries, outbox } = process.stores;
    const states = new Map(all.map(({ delivery }) => [delivery.id, delivery.state]));
    let found = all;
    for (let tries = 0; tries < TRIES && found.length > 0; tries += 1) {
      const isRequeued = await Promise.all(
        found.map((before) => {
          const { delivery } = before;
          const step = this.stepOf(before, replayed(delivery, process.now()));
          return outbox.requeue({ ...step, replay: { id: delivery.id } });
        }),
      );
      const left = found.filter((_, at) => !isRequeued[at]).map(({ delivery }) => delivery.id);
      found = (await deliveries.getMany(left)).filter(
        (one) => one !== null && one.delivery.state === states.get(one.delivery.id),
      ) as StoredDelivery[];
    }
  }

  private stepOf(before: StoredDelivery, after: Delivery): DeliveryStep {
    const { endpoints, now } = this.deliverer.process;
    return { before, after, limits: endpoints.limitsOf(poolOf(after.endpoint)), now: now() };
  }
}

/**
 * Whether a redelivery is done since it was asked for: another request has made it due, or an attempt has delivered
 * what was not delivered then.
 * @param asked as it was then; undefined at the first look
 */
function isDone(now: Delivery, asked: Delivery | undefined): boolean {
  if (asked === undefined) return false;
  return now.urgent || (now.state === 'delivered' && asked.state !== 'delivered');
}

/** Whether it waits by its record: one that has settled since it was found is not sent again for another one. */
function isWaiting(stored: StoredDelivery | null): stored is StoredDelivery {
  return stored !== null && isOutstanding(stored.delivery.state);
}
