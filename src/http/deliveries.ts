import type { Attempt, Delivery, DeliveryFilter } from '../core/delivery/delivery.ts';
import { RunwatchError } from '../core/errors.ts';
import type { CountedPage } from '../core/page.ts';
import { withMoments, type WhenRange } from '../core/time.ts';
import type { Deliverer } from '../deliver/deliverer.ts';

export interface DeliveryQuery extends DeliveryFilter, WhenRange {
  limit: number;
  cursor?: string | undefined;
}

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

const AGAIN_CHUNK = 200;

/** Shows deliveries, and makes them go out again. */
export class DeliveryService {
  constructor(private readonly deliverer: Deliverer) {}

  /** Newest first. Throws RunwatchError `invalid_cursor`, `stale_cursor`. */
  list({ limit, cursor, ...filter }: DeliveryQuery): Promise<CountedPage<Delivery>> {
    const { now, stores } = this.deliverer.process;
    return stores.deliveries.list(withMoments(filter, now()), { limit, cursor });
  }

  async get(id: string): Promise<{ delivery: Delivery; attempts: Attempt[] } | null> {
    const { deliveries } = this.deliverer.process.stores;
    const stored = await deliveries.get(id);
    if (stored === null) return null;
    return { delivery: stored.delivery, attempts: await deliveries.attempts(id) };
  }

  /**
   * The headers that attempts at times (ms since the epoch) send by the present configuration, without
   * secrets; null where its endpoint has none, or none is configured.
   */
  async headersOf(delivery: Delivery): Promise<((atMs: number) => Record<string, string>) | null> {
    const route = await this.deliverer.routes.routeOf(delivery).catch(unusable);
    const shown = route?.channel.shownHeaders;
    return shown === undefined ? null : (atMs) => shown(delivery.eventId, atMs);
  }

  /**
   * Delivers at once, with the same event id; one that waits is due now.
   * @param to another endpoint; the event gets a delivery of its own there
   * @returns the id of the delivery that goes out; null when there is none
   */
  redeliver(id: string, to?: string): Promise<string | null> {
    return this.deliverer.replay.one(id, to);
  }

  /** {@link redeliver} for all that match; they go out at a limited rate. @returns how many */
  async redeliverMany({ to, state, ...range }: RedeliverRange): Promise<number> {
    const { now, stores } = this.deliverer.process;
    let count = 0;
    const byDefault = to === undefined ? AGAIN_BY_DEFAULT : ELSEWHERE_BY_DEFAULT;
    const filter = { ...range, state: state ?? byDefault };
    const created = stores.deliveries.created(withMoments(filter, now()), AGAIN_CHUNK);
    for await (const found of created) {
      await stores.outbox.requestReplays(found, to);
      count += found.length;
    }
    this.deliverer.replayRanges();
    return count;
  }
}

/** Without the secrets of an endpoint there are no headers to show. */
function unusable(error: unknown): null {
  if (error instanceof RunwatchError && !error.retriable) return null;
  throw error;
}
