import type { Redis } from 'ioredis';
import type { StoredDelivery } from '../../core/delivery/delivery.ts';
import type { RunwatchEvent } from '../../core/event/event.ts';
import { watchId, type StoredWatch } from '../../core/watch/watch.ts';
import { declaredKeys } from '../declared-keys.ts';
import type { DeliveryStore } from './delivery-store.ts';
import type { EventStore } from './event-store.ts';
import { deliveryIndexes, eventIndexes, ledgerField, watchIndexes, type Keys } from '../keys.ts';
import { replies } from '../replies.ts';
import type { WatchStore } from './watch-store.ts';

/** Things forgotten in one go. */
const CHUNK = 200;

/** Watches forgotten at a time: one after the other, round trips would bound how many a day can have. */
const AT_ONCE = 20;

/** What one go of forgetting came to. */
export interface Forgotten {
  forgotten: number;
  /** False once nothing is left, or nothing that may go yet. */
  mayGoOn: boolean;
}

/** Forgets what has been over for long. What is pending is never forgotten. */
export class RetentionStore {
  constructor(
    private readonly redis: Redis,
    private readonly keys: Keys,
    private readonly stores: {
      watches: WatchStore;
      events: EventStore;
      deliveries: DeliveryStore;
    },
  ) {}

  /** Forgets deliveries that settled before a time. */
  async forgetDeliveries(before: number): Promise<Forgotten> {
    const { deliveriesSettled } = this.keys;
    const ids = await this.redis.zrangebyscore(
      deliveriesSettled,
      '-inf',
      before,
      'LIMIT',
      0,
      CHUNK,
    );
    return this.forgetSettled(ids);
  }

  /** Forgets the longest settled deliveries beyond a number that is kept. */
  async forgetDeliveriesBeyond(kept: number): Promise<Forgotten> {
    const { deliveriesSettled } = this.keys;
    const surplus = (await this.redis.zcard(deliveriesSettled)) - kept;
    if (surplus <= 0) return { forgotten: 0, mayGoOn: false };
    const last = Math.min(surplus, CHUNK) - 1;
    return this.forgetSettled(await this.redis.zrange(deliveriesSettled, 0, String(last)));
  }

  /**
   * Forgets watches that ended before a time, with their events and deliveries.
   * @param againAfterMs for how long one is put off that may not go yet, so that it does not stand in
   *   the way of the others
   */
  async forgetWatches(before: number, againAfterMs: number): Promise<Forgotten> {
    const { watchesEnded } = this.keys;
    const ended = await this.stores.watches.endedBefore(before, CHUNK);
    const stored = await this.stores.watches.getMany(ended);
    const lost = ended.filter((_, at) => stored[at] === null).map(watchId);
    if (lost.length > 0) await this.redis.zrem(watchesEnded, ...lost);
    const known = stored.filter((one) => one !== null);
    let forgotten = 0;
    for (let at = 0; at < known.length; at += AT_ONCE) {
      const some = known.slice(at, at + AT_ONCE);
      const gone = await Promise.all(
        some.map((one) => this.forgetWatch(one, before + againAfterMs)),
      );
      forgotten += gone.reduce((sum, count) => sum + count, 0);
    }
    return { forgotten, mayGoOn: ended.length === CHUNK };
  }

  /** Forgets what is left of settled deliveries, also of those whose record is lost. */
  private async forgetSettled(ids: string[]): Promise<Forgotten> {
    const stored = await this.stores.deliveries.getMany(ids);
    const lost = ids.filter((_, at) => stored[at] === null);
    if (lost.length > 0) await this.redis.zrem(this.keys.deliveriesSettled, ...lost);
    const forgotten = await this.forget(stored);
    return { forgotten, mayGoOn: ids.length === CHUNK && forgotten + lost.length > 0 };
  }

  private async forgetWatch({ watch, version }: StoredWatch, againAt: number): Promise<number> {
    const events = await this.eventsOf(watch.source, watch.runId);
    await this.forgetDeliveriesOf(events);
    const plan = {
      version,
      member: watchId(watch),
      watches: this.keys.watches(),
      indexes: watchIndexes(this.keys, watch),
      ended: this.keys.watchesEnded,
      goneChecks: this.keys.goneChecks,
      againAt,
      events: events.map((event) => ({
        id: event.id,
        key: this.keys.event(event.id),
        indexes: eventIndexes(this.keys, event),
        deliveries: this.keys.deliveries('event', event.id),
      })),
    };
    return this.redis.rwForgetWatch(
      ...declaredKeys(this.keys, [this.keys.watch(watch)], plan),
      JSON.stringify(plan),
    );
  }

  private async eventsOf(source: string, runId: string): Promise<RunwatchEvent[]> {
    const found: RunwatchEvent[] = [];
    let after: string | undefined;
    do {
      const page = await this.stores.events.list(
        { runId, ...(after && { after }) },
        { limit: CHUNK },
      );
      found.push(...page.items.map(({ event }) => event));
      after = page.nextCursor ?? undefined;
    } while (after !== undefined);
    return found.filter((event) => event.data.watch.source === source);
  }

  private async forgetDeliveriesOf(events: readonly RunwatchEvent[]): Promise<void> {
    const pipeline = this.redis.pipeline();
    for (const { id } of events) pipeline.zrange(this.keys.deliveries('event', id), 0, '-1');
    const ids = (await replies<string[]>(pipeline)).flat();
    for (let at = 0; at < ids.length; at += CHUNK) {
      await this.forget(await this.stores.deliveries.getMany(ids.slice(at, at + CHUNK)));
    }
  }

  private async forget(stored: (StoredDelivery | null)[]): Promise<number> {
    const deliveries = stored.flatMap((one) => (one === null ? [] : [one]));
    if (deliveries.length === 0) return 0;
    const plan = {
      ledger: this.keys.ledger,
      deliveries: deliveries.map(({ delivery, version }) => ({
        id: delivery.id,
        version: String(version),
        key: this.keys.delivery(delivery.id),
        attempts: this.keys.attempts(delivery.id),
        // What tells of an endpoint is in no log of events: it goes with its delivery.
        event: delivery.runId === '' ? this.keys.event(delivery.eventId) : '',
        siblings: this.keys.deliveries('event', delivery.eventId),
        indexes: deliveryIndexes(this.keys, delivery),
        count: ledgerField(delivery),
      })),
    };
    return this.redis.rwForgetDeliveries(
      ...declaredKeys(this.keys, [this.keys.deliveriesSettled], plan),
      JSON.stringify(plan),
    );
  }
}
